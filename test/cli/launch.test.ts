// The processes of a node, played by a script: how they are started, stopped, and mourned.

import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";

import { afterAll, describe, expect, it } from "@jest/globals";

import { freePort, launch } from "../../src/cli/launch.js";
import { listenToSignals, StoppedBySignal } from "../../src/cli/signals.js";
import { RepkitError } from "../../src/errors.js";
import type { Place } from "../../src/train/index.js";

const folder = mkdtempSync(join(tmpdir(), "repkit-launch-"));
afterAll(() => {
  rmSync(folder, { recursive: true, force: true });
  for (const signal of ["SIGINT", "SIGTERM"] as const) process.removeAllListeners(signal);
});
let scripts = 0;

/** Runs `code` in each process; it has its `place`, and `heard`, a promise of what the launcher says first. */
async function launched(code: string, { processes = 2, timeoutSeconds = 4 } = {}) {
  const script = join(folder, `script${scripts++}.mjs`);
  const start =
    "const place = JSON.parse(process.env.REPKIT_PLACE);\n" +
    "const heard = new Promise((resolve) => process.once('message', resolve));\n";
  writeFileSync(script, start + code);
  const places = Array.from({ length: processes }, (_, rank): Place => ({
    ...{ rank, worldSize: processes, localRank: rank, localSize: processes },
    ...{ url: "tcp://127.0.0.1:1", backend: null, timeoutSeconds },
  }));
  let stderr = "";
  const { NODE_OPTIONS: options, ...rest } = process.env;
  process.env = rest;
  const started = performance.now();
  let error: unknown;
  try {
    const commandLine = [script];
    const write = (text: string) => Boolean((stderr += text));
    await launch({ places, commandLine, stderr: { write } });
  } catch (thrown) {
    error = thrown;
  } finally {
    if (options !== undefined) process.env["NODE_OPTIONS"] = options;
  }
  return { error: error as RepkitError | undefined, stderr, ms: performance.now() - started };
}

/** Ends when the launcher says that somebody has failed, and reports that. */
const FOLLOW =
  "const { failure } = await heard;\n" +
  "process.send({ failure }, () => process.exit(failure.kind === 'file' ? 3 : 7));\n";

it("all end well: so does the launcher; what others than the first say has their rank before it", async () => {
  const { error, stderr } = await launched(
    "process.channel.unref(); if (place.rank > 0) console.error('skipped a.jpg');",
    { processes: 3 },
  );
  expect(error).toBeUndefined();
  expect(stderr.split("\n").sort()).toEqual([
    "",
    "[rank 1] skipped a.jpg",
    "[rank 2] skipped a.jpg",
  ]);
});

describe("a failure", () => {
  it("is told once, with the exit code of the process whose it is", async () => {
    const { error } = await launched(
      "if (place.rank === 1) process.send({ failure: { rank: 1, kind: 'file', message: 'no folder' } }, () => process.exit(3));\n" +
        `else { ${FOLLOW} }`,
      { processes: 3 },
    );
    expect(error).toBeInstanceOf(RepkitError);
    expect(error).toMatchObject({ kind: "file", message: "rank 1: no folder", exitCode: 3 });
  });

  it("of the leader reads as that of a process alone", async () => {
    const { error } = await launched(
      "if (place.rank === 0) process.send({ failure: { rank: 0, kind: 'usage', message: 'in use' } }, () => process.exit(2));\n" +
        `else { ${FOLLOW} }`,
    );
    expect(error).toMatchObject({ kind: "usage", message: "in use" });
  });

  it("by kill -9 names the process, whoever reports first", async () => {
    const { error } = await launched(
      // What a collective says of it comes sooner.
      "if (place.rank === 0) { const peer = { rank: 2, kind: 'environment', message: 'is silent' }; process.send({ failure: peer }, () => process.exit(7)); }\n" +
        "if (place.rank === 1) setTimeout(() => process.kill(process.pid, 'SIGKILL'), 300);\n" +
        `if (place.rank === 2) { await heard; await new Promise((done) => setTimeout(done, 500)); process.exit(7); }`,
      { processes: 3 },
    );
    expect(error?.message).toMatch(/^rank 1 \(process \d+\): was killed by SIGKILL$/);
    expect(error?.exitCode).toBe(7);
  });

  it("ends those that hang, after a while", async () => {
    const { error, ms } = await launched(
      "if (place.rank === 0) process.exit(2); else setInterval(() => undefined, 1000);",
    );
    expect(error).toMatchObject({ kind: "usage", message: "ended with exit code 2" });
    expect(ms).toBeGreaterThan(4900);
    expect(ms).toBeLessThan(8000);
  }, 20_000);
});

it("a signal is passed on once, and the launcher ends with it", async () => {
  listenToSignals();
  void sleep(700).then(() => process.emit("SIGINT"));
  const { error } = await launched(
    "const { kind, signal } = await heard; process.exit(kind === 'stop' && signal === 'SIGINT' ? 130 : 1);",
  );
  expect(error).toBeInstanceOf(StoppedBySignal);
  expect((error as unknown as StoppedBySignal).signal).toBe("SIGINT");
}, 20_000);

it("finds ports", async () => {
  const ports = await Promise.all([freePort(), freePort()]);
  expect(new Set(ports).size).toBe(2);
  for (const port of ports) expect(port).toBeGreaterThan(1024);
});
