// `repkit bench convert`: its document, its text, and what it refuses.

import { readdirSync } from "node:fs";
import { tmpdir } from "node:os";

import { describe, expect, it, jest } from "@jest/globals";

import {
  benchConvertCommand,
  type BenchConvertOptions,
} from "../../src/cli/commands/bench-convert.js";
import { program } from "../../src/cli/program.js";
import { captureOutput } from "../helpers/written.js";

jest.setTimeout(60_000);
const written = captureOutput();

const standard: BenchConvertOptions = {
  ...{ arch: "MobileNet", blocktype: "DBB", numClasses: 3, steps: 2, warmup: 0, threads: 1 },
  ...{ logLevel: "info", engine: "auto", precision: "fp32", seed: 0 },
};

it("--json is one document, and nothing is left behind", async () => {
  const folders = () => readdirSync(tmpdir()).filter((name) => name.startsWith("repkit-bench-"));
  const before = folders();
  await benchConvertCommand({ ...standard, json: true });
  const document = JSON.parse(written.stdout) as Record<string, number>;
  expect(document).toMatchObject({
    ...{ work: "convert", arch: "MobileNet", block: "DBB", classes: 3, steps: 2, warmup: 0 },
    ...{ engine: null, threads: 1, images_per_second: null, node: process.version },
  });
  const seconds = document["seconds"] as unknown as number[];
  expect(seconds).toHaveLength(2);
  expect(document["median_seconds"]).toBeCloseTo((seconds[0]! + seconds[1]!) / 2, 9);
  expect(document["min_seconds"]).toBe(Math.min(...seconds));
  // 3.4 million float32 values.
  expect(document["input_bytes"]).toBeGreaterThan(12e6);
  expect(folders()).toEqual(before);
});

it("for people: what, how long, how much memory", async () => {
  await benchConvertCommand({ ...standard, steps: 1 });
  expect(written.stdout).toMatch(
    /^MobileNet x DBB, \d+\.\d+ MB, 1 threads\n\n {2}conversion {3}\d+\.\d{3} s, checked \(median of 1; fastest \d/,
  );
});

describe("refused", () => {
  it.each([
    ["bench convert", "bench convert: expected an architecture (-a), received none"],
    ["bench convert x -a MobileNet", 'bench convert: takes no folder, received "x"'],
    ["bench convert -a MobileNet -b 2", "bench convert: --batch-size does not go with it"],
    ["bench convert -a MobileNet --deploy", "bench convert: --deploy does not go with it"],
  ])("%s", async (line, message) => {
    const run = program().parseAsync(line.split(" "), { from: "user" });
    await expect(run).rejects.toThrow(message);
  });
});
