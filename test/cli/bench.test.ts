// `repkit bench`: its document, its text, and what it refuses.

import { describe, expect, it, jest } from "@jest/globals";

import { benchCommand, type BenchOptions } from "../../src/cli/commands/bench.js";
import { program } from "../../src/cli/program.js";
import { fakeEngine, type FakeOptions } from "../bench/fake-engine.js";
import { captureOutput } from "../helpers/written.js";

const written = captureOutput();

const standard: BenchOptions = {
  ...{ arch: "MobileNet", batchSize: 2, imgSize: 32, numClasses: 10, steps: 2, warmup: 1 },
  ...{ logLevel: "info", engine: "auto", precision: "fp32", seed: 0, threads: 2 },
};
const profile = [
  { name: "batchNorm", calls: 27, seconds: 0.25 },
  { name: "conv2d", calls: 27, seconds: 0.75 },
];

async function bench(work: "step" | "forward", options: Partial<BenchOptions>, fake?: FakeOptions) {
  const asked: string[] = [];
  await benchCommand(work, { ...standard, ...options }, async (name) => {
    asked.push(name);
    return fakeEngine(fake);
  });
  return asked;
}

describe("--json", () => {
  it("is one document with the numbers and their circumstances", async () => {
    expect(await bench("step", { json: true, engine: "torch" })).toEqual(["torch"]);
    const document = JSON.parse(written.stdout) as Record<string, number>;
    expect(document).toMatchObject({
      ...{ work: "step", arch: "MobileNet", block: "base", mode: "train", classes: 10 },
      ...{ batch_size: 2, img_size: 32, steps: 2, warmup: 1 },
      ...{ engine: "fake", engine_description: "fake engine 1.0", device: "cpu" },
      ...{ precision: "fp32", threads: 2, last_loss: 4, profile: null, node: process.version },
    });
    expect(document["images_per_second"]).toBeCloseTo(2 / document["median_seconds"]!, 6);
    expect(document["min_seconds"]).toBeLessThanOrEqual(document["median_seconds"]!);
    expect(document["gflops_per_second"]).toBeGreaterThan(0);
    expect(document["peak_memory_bytes"]).toBeGreaterThan(1e6);
    expect(written.stderr).toBe("");
  });

  it("of inference in the deployed structure", async () => {
    await bench(
      "forward",
      { json: true, deploy: true, blocktype: "DBB", profile: true },
      { profile },
    );
    expect(JSON.parse(written.stdout)).toMatchObject({
      ...{ work: "forward", block: "DBB", mode: "deploy", last_loss: null, profile },
    });
  });
});

describe("for people", () => {
  it("names the model, the engine and the figures", async () => {
    await bench("step", {});
    const [model, engine, , ...figures] = written.stdout.split("\n");
    expect(model).toBe("MobileNet x base, train structure, batch 2 at 32x32, fp32, 2 threads");
    expect(engine).toBe("fake: fake engine 1.0");
    expect(figures.join("\n")).toMatch(/training step +\d+\.\d{4} s \(median of 2; fastest .*\)/);
    expect(figures.join("\n")).toMatch(/images +\d+\.\d per second/);
  });

  it("--profile: where the time goes, the largest share first", async () => {
    await bench("step", { profile: true }, { profile });
    const table = written.stdout.slice(written.stdout.indexOf("OPERATION"));
    expect(table).toBe(
      [
        "OPERATION  CALLS  SECONDS   SHARE",
        "conv2d        27   0.7500  75.0 %",
        "batchNorm     27   0.2500  25.0 %",
        "",
      ].join("\n"),
    );
  });

  it("--profile: an engine that cannot say is named on stderr, unless --quiet", async () => {
    await bench("step", { profile: true });
    expect(written.stderr).toBe("note: fake cannot say where its time goes\n");
    written.stderr = "";
    await bench("step", { profile: true, quiet: true });
    expect(written.stderr).toBe("");
  });
});

it.each([
  [{ arch: "ResNet-81" }, 'unknown architecture "ResNet-81"'],
  [{ blocktype: "RepVGGplus" }, "MobileNet has no block RepVGGplus"],
  [{ batchSize: 1e7 }, "--batch-size: expected images of no more than 2.15 GB"],
])("refuses %j before an engine is loaded", async (options, message) => {
  const choose = jest.fn<() => Promise<never>>();
  const run = benchCommand("step", { ...standard, ...options }, choose);
  await expect(run).rejects.toMatchObject({ exitCode: 2 });
  await expect(run).rejects.toThrow(message);
  expect(choose).not.toHaveBeenCalled();
});

it.each([
  [["bench", "stap", "-a", "X"], 'did you mean "step"'],
  [["bench", "step"], "expected an architecture (-a), received none"],
  [["bench", "step", "-a", "X", "--steps", "0"], "expected a whole number from 1"],
  [["bench", "step", "-a", "X", "--warmup", "-1"], "expected a whole number from 0"],
])("%j is refused", async (line, message) => {
  await expect(program().parseAsync(line, { from: "user" })).rejects.toThrow(message);
});
