// Logits that are kept while a model is evaluated.

import { chmodSync, existsSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { afterAll, describe, expect, test } from "@jest/globals";

import { openSafetensors } from "../../src/checkpoint/index.js";
import { checkLogitsFile, LogitsRecorder } from "../../src/evaluate/logits.js";
import type { Graph, Tensor } from "../../src/graph/index.js";
import { failureOf } from "../helpers/failures.js";

const folder = mkdtempSync(join(tmpdir(), "repkit-logits-"));
afterAll(() => {
  rmSync(folder, { recursive: true });
});
const at = (name: string) => join(folder, name);

/** What the recorder asks of a graph: the names of its outputs, the logits first. */
const graph = {
  nodes: [],
  outputs: [
    { name: "logits", value: 0 },
    { name: "auxiliary", value: 1 },
  ],
} as Graph;

/** An executable that gives these logits, batch after batch; its auxiliary head comes first. */
function executable(...batches: Tensor[]) {
  return {
    async infer() {
      const logits = batches.shift()!;
      const shape = logits.shape;
      const auxiliary = { shape, data: new Float32Array(logits.data.length).fill(99) };
      const outputs = new Map([
        ["auxiliary", auxiliary],
        ["logits", logits],
      ] as [string, Tensor][]);
      return { outputs, values: new Map() };
    },
  };
}

function batch(...labels: number[]) {
  const images = { shape: [labels.length, 1, 1, 3], data: new Uint8Array(3 * labels.length) };
  return { images, labels: Int32Array.from(labels) };
}

describe("LogitsRecorder", () => {
  test("scores the first output, and writes all of it with the labels in order", async () => {
    const recorder = new LogitsRecorder(
      executable(
        { shape: [2, 2], data: Float32Array.of(1, 2, 3, 4) },
        { shape: [1, 2], data: Float64Array.of(0.1, -5) },
      ),
      graph,
      { images: 4, classes: 2 },
    );
    expect(await recorder.evaluate(batch(1, 0))).toMatchObject({ top1: 1, top5: 2 });
    expect(await recorder.evaluate(batch(0))).toMatchObject({ top1: 1 });
    recorder.write(at("logits.safetensors"));

    const file = openSafetensors(at("logits.safetensors"));
    expect(Array.from(file.tensors.values(), ({ name, dtype }) => [name, dtype])).toEqual([
      ["logits", "F32"],
      ["labels", "I64"],
    ]);
    // The fourth image was skipped.
    expect(file.get("logits")).toEqual({
      shape: [3, 2],
      data: Float32Array.of(1, 2, 3, 4, 0.1, -5),
    });
    expect(file.get("labels")).toEqual({ shape: [3], data: BigInt64Array.of(1n, 0n, 0n) });
    file.close();
  });
});

describe("checkLogitsFile", () => {
  const size = { images: 10, classes: 10 };

  test("a folder that does not exist, or is in the way", async () => {
    const missing = at("missing/logits.safetensors");
    expect((await failureOf(() => checkLogitsFile(missing, size))).message).toBe(
      `${missing}: cannot write: the folder ${at("missing")} does not exist`,
    );
    expect((await failureOf(() => checkLogitsFile(folder, size))).message).toBe(
      `${folder}: cannot write: is a folder; name a file in it`,
    );
  });

  const asUser = process.getuid?.() === 0 ? test.skip : test;
  asUser("a folder that is not writable (skipped for root)", async () => {
    chmodSync(folder, 0o500);
    const { kind, message } = await failureOf(() => checkLogitsFile(at("new"), size));
    chmodSync(folder, 0o700);
    expect([kind, message]).toEqual(["file", expect.stringContaining("is not writable")]);
  });

  test("more than an array can hold is refused before it is allocated", async () => {
    const huge = { images: 5_000_000, classes: 1000 };
    expect(await failureOf(() => checkLogitsFile(at("new"), huge))).toMatchObject({
      kind: "usage",
      message: expect.stringContaining("5000000 images x 1000 classes"),
    });
  });

  test("looks only: an existing file stays, none is made", () => {
    writeFileSync(at("old"), "old");
    checkLogitsFile(at("old"), size);
    checkLogitsFile(at("fresh"), size);
    expect([existsSync(at("old")), existsSync(at("fresh"))]).toEqual([true, false]);
  });
});
