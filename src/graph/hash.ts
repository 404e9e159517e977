/**
 * The structural hash of a graph: equal for graphs that compute the same expression of the same
 * state, whatever their ids, node names or the order of independent nodes. Parameter names, shapes
 * and their state-dict order count: they are what a checkpoint is matched against.
 */
import { createHash } from "node:crypto";

import { printAttributes } from "./print.js";
import { formatShape } from "./tensor.js";
import type { Graph } from "./types.js";

/** 64 hexadecimal digits. */
export function structuralHash(graph: Graph): string {
  const hashes: string[] = [];
  for (const node of graph.nodes) {
    const inputs = node.inputs.map((input) => hashes[input] ?? "");
    hashes.push(
      sha256(node.op.kind, printAttributes(node.op), formatShape(node.type.shape), ...inputs),
    );
  }
  const state = graph.nodes.flatMap(({ op }) => (op.kind === "param" ? [op.name] : []));
  const outputs = graph.outputs.flatMap(({ name, value }) => [name, hashes[value] ?? ""]);
  return sha256(...outputs, "state", ...state);
}

function sha256(...parts: string[]): string {
  return createHash("sha256").update(JSON.stringify(parts)).digest("hex");
}
