/**
 * A graph as text that people can read and tests can compare. Values are named a, b, ..., z, aa, ...
 * in order of appearance, so that equal graphs print equal text whatever their ids are.
 */
import { formatShape } from "./tensor.js";
import type { Fill, Graph, Initialiser, Node, Op, Padding, Pair } from "./types.js";

/** One line per node: `d: (64,112,112) = conv2d(a, b) stride=2 padding=3  # stage0.conv1.conv`. */
export function printGraph(graph: Graph): string {
  const lines = graph.nodes.map((node) => printNode(node));
  const outputs = graph.outputs.map(({ name, value }) => `${name}=${valueName(value)}`);
  return [...lines, `return ${outputs.join(", ")}`, ""].join("\n");
}

/** a, b, ..., z, aa, ab, ... for 0, 1, ... */
export function valueName(index: number): string {
  const letter = String.fromCharCode(97 + (index % 26));
  return index < 26 ? letter : valueName(Math.floor(index / 26) - 1) + letter;
}

function printNode(node: Node): string {
  const inputs = node.inputs.map(valueName).join(", ");
  const attributes = printAttributes(node.op);
  const call = `${node.op.kind}(${inputs})${attributes === "" ? "" : ` ${attributes}`}`;
  const remarks = [
    node.op.kind === "param" ? "" : node.name,
    node.foldName === undefined ? "" : `folds to ${node.foldName}`,
    node.rules === undefined ? "" : `by ${node.rules.join(" ")}`,
  ].filter((remark) => remark !== "");
  const comment = remarks.length === 0 ? "" : `  # ${remarks.join("; ")}`;
  return `${valueName(node.id)}: ${formatShape(node.type.shape)} = ${call}${comment}`;
}

/** The attributes that differ from an op's plain form; every op is listed so that none is forgotten. */
export function printAttributes(op: Op): string {
  switch (op.kind) {
    case "input":
      return `mean=${list(op.mean)} std=${list(op.std)}`;
    case "param":
      return `${JSON.stringify(op.name)} ${op.role} ${op.dtype} init=${printFill(op.init)} decay=${op.decay}`;
    case "constant":
      return printFill(op.fill);
    case "conv2d":
      return join(
        unless(1, "stride", op.stride),
        unless(0, "padding", op.padding),
        unless(1, "dilation", op.dilation),
        unless(1, "groups", [op.groups]),
      );
    case "batchNorm":
      return join(`eps=${op.eps}`, `momentum=${op.momentum}`, unless(0, "pad", op.pad));
    case "maxPool":
    case "avgPool":
      return join(
        `kernel=${compact(op.kernel)}`,
        `stride=${compact(op.stride)}`,
        unless(0, "padding", op.padding),
        op.kind === "avgPool" && !op.countIncludePad ? "count_include_pad=false" : "",
      );
    case "inverseStd":
      return `eps=${op.eps}`;
    case "einsum":
      return op.equation;
    case "embed":
      return join(
        `kernel=${compact(op.kernel)}`,
        `offset=${list(op.offset)}`,
        unless(1, "dilation", op.dilation),
        op.groups.from === op.groups.to ? "" : `groups=${op.groups.from}->${op.groups.to}`,
      );
    case "composeKernels":
      return join(unless(1, "groups", [op.groups]), op.correlate ? "correlate" : "");
    case "reshape":
      return formatShape(op.shape);
    case "select":
      return `row=${op.index}`;
    case "relu":
    case "silu":
    case "sigmoid":
    case "globalAvgPool":
    case "flatten":
    case "linear":
    case "add":
    case "mul":
    case "concat":
    case "sub":
    case "scale":
    case "detach":
      return "";
  }
}

function printFill(fill: Fill | Initialiser): string {
  switch (fill.kind) {
    case "constant":
      return `constant(${fill.value})`;
    case "rows":
      return `rows${list(fill.values)}`;
    case "uniform":
      return `uniform(${fill.bound})`;
    case "kaimingUniform":
      return `kaimingUniform(${fill.a})`;
    case "identity":
    case "frequencyPrior":
      return fill.kind;
  }
}

function unless(plain: number, name: string, values: Pair | Padding | readonly number[]): string {
  return values.every((value) => value === plain) ? "" : `${name}=${compact(values)}`;
}

/** 3 for 3,3 or 3,3,3,3, else (1,1,0,0). */
function compact(values: readonly number[]): string {
  return values.every((value) => value === values[0]) ? String(values[0]) : list(values);
}

function list(values: readonly number[]): string {
  return `(${values.join(",")})`;
}

function join(...parts: string[]): string {
  return parts.filter((part) => part !== "").join(" ");
}
