// One process at a time: among several that come at once, after one was killed, and beside strangers.

import { readdirSync, readFileSync, writeFileSync, mkdtempSync, rmSync } from "node:fs";
import { hostname, tmpdir } from "node:os";
import { join } from "node:path";

import { afterAll, beforeAll, beforeEach, describe, expect, it } from "@jest/globals";

import { isAlive, lockFolder, type LockOwner } from "../../src/util/process-lock.js";
import { sourceProcesses } from "../helpers/source-process.js";

const LOCKING = `
  import { createInterface } from "node:readline";
  import { lockFolder } from "./util/process-lock.js";
  const input = createInterface({ input: process.stdin })[Symbol.asyncIterator]();
  console.log("ready");
  await input.next();
  const outcome = await lockFolder(process.argv[2]);
  console.log(outcome.kind);
  await input.next();
  process.exit(0);`;

let root = "";
let folder = "";
let start: ReturnType<typeof sourceProcesses>;
beforeAll(() => {
  root = mkdtempSync(join(tmpdir(), "repkit-lock-"));
  start = sourceProcesses(join(root, "sources"), ["util/process-lock.ts"]);
});
beforeEach(() => {
  folder = mkdtempSync(join(root, "folder-"));
});
afterAll(() => {
  rmSync(root, { recursive: true, force: true });
});

describe("lockFolder", () => {
  it("is for one at a time, and free again afterwards", async () => {
    const first = await lockFolder(folder);
    if (first.kind !== "locked") throw new Error("expected the lock of an empty folder");
    expect(first.abandoned).toBe(false);
    expect(await lockFolder(folder)).toMatchObject({
      kind: "in-use",
      owner: { pid: process.pid, host: hostname() },
    });
    expect(readdirSync(folder)).toHaveLength(1);
    first.release();
    expect(readdirSync(folder)).toEqual([]);
    const second = await lockFolder(folder);
    expect(second.kind).toBe("locked");
    if (second.kind === "locked") second.release();
  });

  it("goes to exactly one of many that come at once", async () => {
    const processes = Array.from({ length: 5 }, () => start(LOCKING, folder));
    for (const one of processes) expect(await one.line()).toBe("ready");
    for (const one of processes) one.send("go");
    const outcomes = await Promise.all(processes.map((one) => one.line()));
    expect(outcomes.sort()).toEqual(["in-use", "in-use", "in-use", "in-use", "locked"]);
    await Promise.all(processes.map((one) => one.end()));
    expect(readdirSync(folder)).toEqual([]);
  }, 30_000);

  it("waits a moment for one that has just come, which may withdraw", async () => {
    const other = join(folder, ".lock-1-0123456789abcdef");
    const owner = { pid: process.pid, host: hostname(), started: null };
    writeFileSync(other, JSON.stringify({ ...owner, since: "2026-01-02T03:04:05.678Z" }));
    expect(await lockFolder(folder)).toMatchObject({ kind: "in-use", file: other });
    writeFileSync(other, JSON.stringify({ ...owner, since: new Date().toISOString() }));
    setImmediate(() => rmSync(other));
    const lock = await lockFolder(folder);
    expect(lock).toMatchObject({ kind: "locked", abandoned: false });
    if (lock.kind === "locked") lock.release();
  });

  it("does not outlive a process that is killed", async () => {
    const holder = start(LOCKING, folder);
    await holder.line();
    holder.send("go");
    expect(await holder.line()).toBe("locked");
    expect(await lockFolder(folder)).toMatchObject({ kind: "in-use", owner: { pid: holder.pid } });
    await holder.kill();
    const lock = await lockFolder(folder);
    expect(lock).toMatchObject({ kind: "locked", abandoned: true });
    expect(readdirSync(folder)).toEqual([expect.stringMatching(`^\\.lock-${process.pid}-`)]);
    if (lock.kind === "locked") lock.release();
  }, 30_000);

  it("leaves files alone that are not locks", async () => {
    writeFileSync(join(folder, ".lock-1-0123456789abcdef"), "not JSON");
    writeFileSync(join(folder, ".lock-2-0123456789abcdef"), '{"pid":"2"}');
    writeFileSync(join(folder, "lock"), "");
    const lock = await lockFolder(folder);
    expect(lock).toMatchObject({ kind: "locked", abandoned: false });
    if (lock.kind === "locked") lock.release();
    expect(readdirSync(folder)).toHaveLength(3);
  });

  it("fails as the system does where there is no such folder", async () => {
    await expect(lockFolder(join(folder, "missing"))).rejects.toMatchObject({ code: "ENOENT" });
  });
});

describe("isAlive", () => {
  async function ownLock(): Promise<LockOwner> {
    const lock = await lockFolder(folder);
    const [file] = readdirSync(folder);
    const owner = JSON.parse(readFileSync(join(folder, file ?? ""), "utf8")) as LockOwner;
    if (lock.kind === "locked") lock.release();
    return owner;
  }

  it("knows a process by its number and its start", async () => {
    const owner = await ownLock();
    expect(isAlive(owner)).toBe(true);
    expect(isAlive({ ...owner, started: null })).toBe(true);
    if (owner.started !== null) expect(isAlive({ ...owner, started: "1" })).toBe(false);
    expect(isAlive({ ...owner, pid: 2 ** 22 + 1 })).toBe(false);
  });

  it("cannot tell for other hosts, which counts as alive", async () => {
    const owner = await ownLock();
    expect(isAlive({ ...owner, host: "elsewhere.invalid", pid: 2 ** 22 + 1 })).toBe(true);
  });
});
