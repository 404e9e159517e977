// train.log: JSON lines that are there at once.

import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { afterAll, beforeAll, describe, expect, it } from "@jest/globals";

import { openLog } from "../../../src/train/run/index.js";

let folder = "";
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), "repkit-log-"));
});
afterAll(() => {
  rmSync(folder, { recursive: true, force: true });
});

const lines = (path: string) =>
  readFileSync(path, "utf8")
    .split("\n")
    .slice(0, -1)
    .map((line) => JSON.parse(line) as Record<string, unknown>);

describe("openLog", () => {
  it("appends lines of the level and above, each at once", () => {
    const path = join(folder, "train.log");
    const first = openLog(path, "info");
    first.logger.debug("too fine");
    first.logger.info({ step: 3, tag: 'a "b"\n' }, "saved");
    expect(lines(path)).toMatchObject([{ level: 30, step: 3, tag: 'a "b"\n', msg: "saved" }]);
    expect(lines(path)[0]?.["time"]).toMatch(/^\d{4}-\d\d-\d\dT[\d:.]+Z$/);
    first.close();
    first.close();
    first.logger.error("after the end");
    const second = openLog(path, "debug");
    second.logger.debug("fine");
    expect(lines(path).map(({ msg }) => msg)).toEqual(["saved", "fine"]);
    second.close();
  });

  it("writes nothing at the level silent", () => {
    const path = join(folder, "silent.log");
    const log = openLog(path, "silent");
    log.logger.fatal("nobody hears");
    log.close();
    expect(readFileSync(path, "utf8")).toBe("");
  });

  // A device whose every write fails as on a full disk; there is one on Linux.
  (process.platform === "linux" ? it : it.skip)("does not end a run on a full disk", () => {
    const log = openLog("/dev/full", "info");
    for (let count = 0; count < 3; count++) log.logger.info("lost");
    log.close();
  });

  it("says which file it cannot write", () => {
    const path = join(folder, "missing/train.log");
    expect(() => openLog(path, "info")).toThrow(`${path}: no such file or folder`);
  });
});
