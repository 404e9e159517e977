// Checkpoints are written atomically: whatever goes wrong, the old file or the new one is there, whole.

import { spawn } from "node:child_process";
import { readdirSync } from "node:fs";
import { join } from "node:path";
import process from "node:process";
import { setTimeout as sleep } from "node:timers/promises";

import { describe, expect, it } from "@jest/globals";

import { openTensorFile, writePyTorch } from "../../src/checkpoint/index.js";
import { compileSources } from "../helpers/compiled.js";
import { temporaryFolder } from "./support.js";

const folder = temporaryFolder();
const list = (): string[] => readdirSync(folder.path()).sort();

describe("a tensor that cannot be had", () => {
  it("leaves no file", () => {
    const failure = new Error("no more tensors");
    const entry = { shape: [1], dtype: "F32" } as const;
    expect(() =>
      writePyTorch(join(folder.path(), "g.pth"), [
        { name: "a", ...entry, tensor: () => ({ shape: [1], data: Float32Array.of(1) }) },
        {
          name: "b",
          ...entry,
          tensor: () => {
            throw failure;
          },
        },
      ]),
    ).toThrow(failure);
    expect(list()).toEqual([]);
  });
});

describe("a process killed while it writes", () => {
  it("leaves the old checkpoint or the new one", async () => {
    compileSources(join(folder.path(), "sources"), [
      ...["errors.ts", "graph/tensor.ts", "util", "checkpoint"],
    ]);
    const path = join(folder.path(), "w.pth");
    const script = folder.place(
      "sources/script.js",
      Buffer.from(`
      import { writePyTorch } from "./checkpoint/pytorch-write.js";
      const tensor = (value) => ({ shape: [1 << 20], data: new Float32Array(1 << 20).fill(value) });
      for (let round = 1; ; round++) {
        const entries = Array.from({ length: 8 }, (_, i) => ({ name: "w" + i, tensor: tensor(round) }));
        writePyTorch(${JSON.stringify(path)}, entries);
        if (round === 1) console.log("started");
      }`),
    );
    for (let attempt = 0; attempt < 5; attempt++) {
      const child = spawn(process.execPath, [script]);
      await new Promise((resolve) => child.stdout.once("data", resolve));
      await sleep(10 + 31 * attempt);
      child.kill("SIGKILL");
      await new Promise((resolve) => child.once("close", resolve));

      const file = openTensorFile(path);
      expect(file.tensors.size).toBe(8);
      const values = Array.from(file.tensors.keys(), (name) =>
        Float32Array.from(file.get(name)!.data as Float32Array),
      );
      file.close();
      const round = values[0]![0]!;
      expect(
        values.every((data) => data.length === 1 << 20 && data.every((v) => v === round)),
      ).toBe(true);
    }
    expect(
      list().every((name) => /^(sources|w\.pth)$|^\.repkit-[0-9a-f]{16}\.tmp$/.test(name)),
    ).toBe(true);
  }, 30_000);
});
