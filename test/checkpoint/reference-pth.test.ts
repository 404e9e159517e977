// PyTorch's own files, good and bad: each reads as expected.json says, or is refused for the reason it gives.

import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";

import { afterAll, beforeAll, describe, expect, it } from "@jest/globals";

import {
  openTensorFile,
  type ExtraValue,
  type StoredTensor,
  type TensorFile,
} from "../../src/checkpoint/index.js";
import type { Tensor } from "../../src/graph/index.js";
import { PTH_FIXTURES, refusal } from "./support.js";

interface TensorRecord {
  name: string;
  dtype: string;
  shape: number[];
  sum: number;
  first4: number[];
}

interface Expectation {
  status: "ok" | "error";
  container?: "zip" | "legacy";
  tensors: TensorRecord[];
  root?: string;
  epoch?: number;
  arch?: string;
  best_acc1?: number[];
  scheduler?: Record<string, unknown>;
  optimizer?: { lr: number[]; weight_decay: number[]; momentum_buffers: TensorRecord[] };
  metadata_versions?: Record<string, number>;
  error?: string;
  globals?: string[];
  marker?: string;
  tensor?: string;
  shape?: number[];
  bytes_needed?: number;
  bytes_present?: number;
}

const expected = JSON.parse(readFileSync(`${PTH_FIXTURES}expected.json`, "utf8")) as Record<
  string,
  Expectation
>;
const good = Object.entries(expected).filter(([, { status }]) => status === "ok");
const bad = Object.entries(expected).filter(([, { status }]) => status === "error");

const DTYPES = { float32: "F32", float64: "F64", float16: "F16", bfloat16: "BF16", int64: "I64" };

/** A Python list, dict, number or tensor as JSON has it. */
function plain(value: ExtraValue | undefined): unknown {
  if (Array.isArray(value)) return value.map(plain);
  if (value instanceof Map) {
    const entries = Array.from(value as ReadonlyMap<string, ExtraValue>);
    return Object.fromEntries(entries.map(([key, inner]) => [key, plain(inner)]));
  }
  if (typeof value === "object" && value !== null && "kind" in value && value.kind === "tensor") {
    return Array.from(value.read().data, Number);
  }
  return value;
}

function record(name: string, dtype: string, { shape, data }: Tensor): TensorRecord {
  const values = Array.from(data, Number);
  const sum = values.reduce((total, value) => total + value, 0);
  return { name, dtype, shape: [...shape], sum, first4: values.slice(0, 4) };
}

/** Everything exactly as recorded; only the order in which a sum is taken is not. */
function expectRecords(found: TensorRecord[], recorded: readonly TensorRecord[]): void {
  const sumless = (tensor: TensorRecord) => ({ ...tensor, sum: 0 });
  const dtyped = recorded.map((r) => ({ ...r, dtype: DTYPES[r.dtype as keyof typeof DTYPES] }));
  expect(found.map(sumless)).toEqual(dtyped.map(sumless));
  for (const [i, tensor] of found.entries()) {
    expect(Math.abs(tensor.sum - recorded[i]!.sum)).toBeLessThan(1e-9);
  }
}

function weights(file: TensorFile): TensorRecord[] {
  return Array.from(file.tensors.values(), ({ name, dtype }) =>
    record(file.strippedPrefix + name, dtype, file.get(name)!),
  );
}

it("knows every file of the folder", () => {
  const files = readdirSync(PTH_FIXTURES).filter((name) => name !== "expected.json");
  expect(files.sort()).toEqual(Object.keys(expected).sort());
  expect(good).toHaveLength(14);
  expect(bad).toHaveLength(17);
});

describe.each(good)("%s", (name, expectation) => {
  const open = (): TensorFile => openTensorFile(PTH_FIXTURES + name);

  it("has the recorded tensors, in the recorded order", () => {
    const file = open();
    expect(file.container).toBe(`pytorch-${expectation.container}`);
    expectRecords(weights(file), expectation.tensors);
    expect(file.root).toBe(expectation.root ?? "");
    expect(file.inertGlobals).toEqual([]);
    expect(file.alternatives).toEqual([]);
    const prefixed = expectation.tensors.every((tensor) => tensor.name.startsWith("module."));
    expect(file.strippedPrefix).toBe(prefixed ? "module." : "");
    file.close();
  });

  it("has the recorded values beside them", () => {
    const { extras, ...file } = open();
    const keys = ["epoch", "arch", "best_acc1", "optimizer", "scheduler"];
    expect([...extras.keys()]).toEqual(keys.filter((key) => key in expectation));
    for (const key of ["epoch", "arch", "best_acc1", "scheduler"] as const) {
      expect(plain(extras.get(key))).toEqual(expectation[key]);
    }
    const { optimizer } = expectation;
    if (optimizer !== undefined) {
      const found = extras.get("optimizer") as ReadonlyMap<string, ExtraValue>;
      const groups = plain(found.get("param_groups")) as { lr: number; weight_decay: number }[];
      expect(groups.map(({ lr }) => lr)).toEqual(optimizer.lr);
      expect(groups.map(({ weight_decay: decay }) => decay)).toEqual(optimizer.weight_decay);
      const state = found.get("state") as ReadonlyMap<number, ReadonlyMap<string, StoredTensor>>;
      const buffers = Array.from(state, ([index, slots]) => {
        const buffer = slots.get("momentum_buffer")!;
        return record(String(index), buffer.dtype, buffer.read());
      });
      expectRecords(buffers, optimizer.momentum_buffers);
    }
    file.close();
  });

  if (expectation.metadata_versions !== undefined) {
    it("has the recorded module versions", () => {
      const file = open();
      expect(Object.fromEntries(file.moduleVersions)).toEqual(expectation.metadata_versions);
      file.close();
    });
  }
});

describe.each(bad)("%s", (name, expectation) => {
  let before = "";
  let folder = "";
  beforeAll(() => {
    before = process.cwd();
    folder = mkdtempSync(join(tmpdir(), "repkit-marker-"));
    process.chdir(folder);
  });
  afterAll(() => {
    process.chdir(before);
    rmSync(folder, { recursive: true, force: true });
  });

  it(`is refused: ${expectation.error}`, () => {
    const { reason, details, message } = refusal(() => openTensorFile(PTH_FIXTURES + name));
    expect(reason).toBe(expectation.error);
    expect(details["globals"]).toEqual(expectation.globals);
    expect(message.startsWith(`${PTH_FIXTURES}${name}: `)).toBe(true);
    expect(message).not.toContain("\n");
    const { tensor, shape, bytesNeeded, bytesPresent } = details;
    if (expectation.tensor !== undefined) expect(tensor).toBe(expectation.tensor);
    if (expectation.bytes_needed !== undefined) {
      expect({ shape, bytesNeeded, bytesPresent }).toEqual({
        shape: expectation.shape,
        bytesNeeded: expectation.bytes_needed,
        bytesPresent: expectation.bytes_present,
      });
    }
  });

  if (expectation.marker !== undefined) {
    it("executes nothing", () => {
      refusal(() => openTensorFile(PTH_FIXTURES + name));
      expect(readdirSync(".")).toEqual([]);
      expect(existsSync(expectation.marker!)).toBe(false);
    });
  }
});
