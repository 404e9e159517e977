// The run directory: who may use it, and which checkpoints stay.

import {
  chmodSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  utimesSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { afterAll, beforeAll, beforeEach, describe, expect, it } from "@jest/globals";

import { openRunDirectory, type RunDirectory } from "../../../src/train/run/index.js";
import { sourceProcesses } from "../../helpers/source-process.js";

let root = "";
let run = "";
let runs = 0;
beforeAll(() => {
  root = mkdtempSync(join(tmpdir(), "repkit-run-"));
});
beforeEach(() => {
  run = join(root, `runs/r${runs++}`);
});
afterAll(() => {
  rmSync(root, { recursive: true, force: true });
});

const text = (path: string) => readFileSync(path, "utf8");
const visible = (path: string) => readdirSync(path).filter((name) => !name.startsWith("."));

async function withRun<T>(use: (directory: RunDirectory) => T, resume = true): Promise<T> {
  const directory = await openRunDirectory(run, { resume });
  try {
    return use(directory);
  } finally {
    directory.close();
  }
}

describe("openRunDirectory", () => {
  it("creates the folder and leaves nothing of its own in it", async () => {
    await withRun(({ paths, hasCheckpoint }) => {
      expect(statSync(run).isDirectory()).toBe(true);
      expect(paths.last).toBe(join(run, "last.ckpt"));
      expect(hasCheckpoint()).toBe(false);
    }, false);
    expect(readdirSync(run)).toEqual([]);
  });

  it("refuses a run that is there, unless it is to go on", async () => {
    mkdirSync(run, { recursive: true });
    writeFileSync(join(run, "last.ckpt"), "checkpoint");
    await expect(openRunDirectory(run, { resume: false })).rejects.toMatchObject({
      kind: "usage",
      message: `${run} holds a run already (last.ckpt): go on with --resume auto, or choose another --tag or --out`,
    });
    expect(readdirSync(run)).toEqual(["last.ckpt"]);
    expect(await withRun((directory) => directory.hasCheckpoint())).toBe(true);
  });

  it("refuses a run that a process is at, and takes it over once that was killed", async () => {
    const start = sourceProcesses(join(root, "sources"), ["errors.ts", "util", "train/run"]);
    const holder = start(
      `import { openRunDirectory } from "./train/run/directory.js";
       const directory = await openRunDirectory(process.argv[2], { resume: false });
       console.log(directory.paths.directory);
       process.stdin.resume();`,
      run,
    );
    expect(await holder.line()).toBe(run);
    const opened = openRunDirectory(run, { resume: true });
    await expect(opened).rejects.toMatchObject({ kind: "usage" });
    await expect(opened).rejects.toThrow(
      /^.*\/r\d+ is in use by process \d+ \(since \d{4}-\d\d-\d\d \d\d:\d\d:\d\d UTC\); choose another --out$/,
    );
    await expect(opened).rejects.toThrow(`process ${holder.pid} `);
    await holder.kill();
    expect(await withRun(({ abandoned }) => abandoned)).toBe(true);
    expect(await withRun(({ abandoned }) => abandoned)).toBe(false);
  }, 30_000);

  it("names the lock of a process on another host, which it cannot ask", async () => {
    mkdirSync(run, { recursive: true });
    const file = join(run, ".lock-7-0123456789abcdef");
    const since = "2026-01-02T03:04:05.678Z";
    writeFileSync(file, JSON.stringify({ pid: 7, host: "elsewhere", started: "1", since }));
    await expect(openRunDirectory(run, { resume: true })).rejects.toMatchObject({
      message: `${run} is in use by process 7 of host elsewhere (since 2026-01-02 03:04:05 UTC); choose another --out, or remove ${file} if that process has ended`,
    });
    expect(existsSync(file)).toBe(true);
  });

  it("says in one line where it cannot write", async () => {
    writeFileSync(join(root, "file"), "");
    const inside = join(root, "file/run");
    await expect(openRunDirectory(inside, { resume: false })).rejects.toMatchObject({
      kind: "file",
      message: `${inside}: a part of the path is not a folder`,
    });
  });

  // Root may write everywhere.
  (process.getuid?.() === 0 ? it.skip : it)("respects write protection", async () => {
    mkdirSync(run, { recursive: true });
    chmodSync(run, 0o555);
    await expect(openRunDirectory(run, { resume: false })).rejects.toMatchObject({
      kind: "file",
      message: `${run}: permission denied`,
    });
  });

  it("removes what a killed process had begun to write, but not what is being written", async () => {
    mkdirSync(run, { recursive: true });
    const [old, fresh] = [".repkit-0123456789abcdef.tmp", ".repkit-fedcba9876543210.tmp"];
    for (const name of [old, fresh, ".repkit-other.tmp"]) writeFileSync(join(run, name), "");
    const hourAgo = Date.now() / 1000 - 3600;
    for (const name of [old, ".repkit-other.tmp"]) utimesSync(join(run, name), hourAgo, hourAgo);
    await withRun(() => undefined);
    expect(readdirSync(run).sort()).toEqual([fresh, ".repkit-other.tmp"].sort());
  });
});

describe("a run directory", () => {
  it("writes the configuration as it is", async () => {
    await withRun(({ writeConfig }) => writeConfig({ arch: "old" }));
    await withRun(({ writeConfig }) => writeConfig({ arch: "ResNet-18", lr: 0.1 }));
    expect(text(join(run, "config.json"))).toBe('{\n  "arch": "ResNet-18",\n  "lr": 0.1\n}\n');
  });

  it("makes the last checkpoint the best one, which the next does not change", async () => {
    await withRun(({ paths, markBest }) => {
      writeFileSync(paths.last, "first");
      markBest();
      markBest();
      replace(paths.last, "second");
      expect(text(paths.best)).toBe("first");
      markBest();
      expect(text(paths.best)).toBe("second");
    });
    expect(readdirSync(run).sort()).toEqual(["best.ckpt", "last.ckpt"]);
  });

  it("keeps the newest of the older checkpoints, never less than last and best", async () => {
    await withRun(({ paths, markBest, keepLast }) => {
      const save = (step: number) => {
        replace(paths.last, `step ${step}`);
        utimesSync(paths.last, step, step);
      };
      for (const step of [10, 20, 30, 40]) {
        save(step);
        if (step === 10) markBest();
        keepLast({ kind: "step", step }, 2);
      }
      expect(visible(run).sort()).toEqual(
        ["best.ckpt", "last.ckpt", "step-000030.ckpt", "step-000040.ckpt"].sort(),
      );
      save(41);
      keepLast({ kind: "epoch", epoch: 3 }, 2);
      expect(visible(run).sort()).toEqual(
        ["best.ckpt", "epoch-003.ckpt", "last.ckpt", "step-000040.ckpt"].sort(),
      );
      // A run that went back and comes by an old moment again.
      save(50);
      keepLast({ kind: "step", step: 40 }, 1);
      expect(text(join(run, "step-000040.ckpt"))).toBe("step 50");
      expect(visible(run).sort()).toEqual(["best.ckpt", "last.ckpt", "step-000040.ckpt"]);
      keepLast({ kind: "step", step: 51 }, 0);
      expect(visible(run).sort()).toEqual(["best.ckpt", "last.ckpt"]);
      expect(text(paths.best)).toBe("step 10");
    });
  });

  it("says which file it could not write", async () => {
    await withRun(({ paths, markBest }) => {
      let message = "";
      try {
        markBest();
      } catch (error) {
        message = (error as Error).message;
      }
      expect(message).toBe(`${paths.best}: no such file or folder`);
    });
  });
});

/** As checkpoints are written: the old file stays whole under its other names. */
function replace(path: string, content: string): void {
  rmSync(path, { force: true });
  writeFileSync(path, content);
}
