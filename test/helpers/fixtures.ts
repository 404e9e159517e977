// Reads the reference's files under test/fixtures (test/fixtures/README.md says what they hold).

import { readdirSync, readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";

import type { Tensor } from "../../src/graph/index.js";

export const FIXTURES = fileURLToPath(new URL("../fixtures", import.meta.url));

export type StateEntry = [name: string, shape: number[], kind: "param" | "buffer"];

export interface TensorStats {
  sum: number;
  l2: number;
  first4: number[];
}

export interface ModelReference {
  repo: string;
  arch: string;
  block: string;
  params_train: number;
  params_deploy: number;
  state_train: StateEntry[];
  state_deploy: StateEntry[];
  eval: LogitsReference & {
    logits_l2: number[];
    logits_l2_f64: number[];
    argmax: number[];
    activations: Record<
      string,
      { shape: number[]; l2: number[]; first4: number[]; l2_f64: number[] }
    >;
  };
  deploy: LogitsReference & { argmax: number[]; tensors: Record<string, TensorStats> };
  train?: LogitsReference & {
    labels: number[];
    loss: number;
    loss_f64: number;
    grads: Record<string, GradientReference>;
    running: Record<string, { sum: number; l2: number }>;
  };
  sgd?: {
    optimizer: { lr: number; momentum: number; weight_decay: number };
    losses: number[];
    losses_f64: number[];
    params_after: Record<string, { l2_f64: number; sum_f64: number; err_l2: number }>;
  };
}

/** The first logits of each sample. */
export interface LogitsReference {
  logits_head: number[][];
  logits_head_f64: number[][];
}

export interface GradientReference {
  l2: number;
  first4: number[];
  l2_f64: number;
  first4_f64: number[];
  err_l2: number;
}

/** Names of the model files, `repo__arch__block`. */
export function modelNames(): string[] {
  return filesIn("models", ".json");
}

export function readModel(name: string): ModelReference {
  return JSON.parse(readFileSync(`${FIXTURES}/models/${name}.json`, "utf8")) as ModelReference;
}

export interface BlockReference {
  class: string;
  arguments: Record<string, number | string | boolean>;
  /** Tensors by their names in the file: `state.<name>`, `input`, `eval_output`, ... */
  tensors: Map<string, Tensor>;
}

/** Names of the block files, `class__tag`. */
export function blockNames(): string[] {
  return filesIn("blocks", ".safetensors");
}

/** A plain safetensors reader for trusted files, apart from the product's own. */
export function readBlock(name: string): BlockReference {
  const bytes = readFileSync(`${FIXTURES}/blocks/${name}.safetensors`);
  const length = Number(bytes.readBigUInt64LE(0));
  const { __metadata__: metadata, ...entries } = JSON.parse(
    bytes.toString("utf8", 8, 8 + length),
  ) as Record<string, Entry> & { __metadata__: Record<string, string> };
  const tensors = new Map<string, Tensor>();
  for (const [tensor, { dtype, shape, data_offsets }] of Object.entries(entries)) {
    const [begin, end] = data_offsets.map((offset) => 8 + length + offset) as [number, number];
    const copy = Uint8Array.from(bytes.subarray(begin, end)).buffer;
    const data = dtype === "I64" ? new BigInt64Array(copy) : new Float32Array(copy);
    tensors.set(tensor, { shape, data });
  }
  return {
    class: metadata["class"] ?? "",
    arguments: JSON.parse(metadata["arguments"] ?? "{}") as BlockReference["arguments"],
    tensors,
  };
}

interface Entry {
  dtype: "F32" | "I64";
  shape: number[];
  data_offsets: number[];
}

export function readJson(name: string): unknown {
  return JSON.parse(readFileSync(`${FIXTURES}/${name}`, "utf8"));
}

function filesIn(folder: string, ending: string): string[] {
  return readdirSync(`${FIXTURES}/${folder}`)
    .filter((file) => file.endsWith(ending))
    .map((file) => file.slice(0, -ending.length))
    .sort();
}
