/**
 * Graphs as JSON, the form in which engines and files receive them. Reading trusts nothing: every
 * field is checked, unknown fields are refused, and types are inferred again instead of being read.
 */
import { RepkitError } from "../errors.js";
import { GraphError } from "./errors.js";
import { inferType } from "./infer.js";
import type { Fill, Graph, GraphOutput, Initialiser, Node, Op, OpKind, ParamOp } from "./types.js";
import { verifyGraph } from "./verify.js";

const FORMAT = "repkit-graph";
const VERSION = 1;

interface SerializedGraph {
  readonly format: typeof FORMAT;
  readonly version: typeof VERSION;
  readonly nodes: readonly Omit<Node, "id" | "type">[];
  readonly outputs: readonly GraphOutput[];
}

export function graphToJson(graph: Graph): string {
  const serialized: SerializedGraph = {
    format: FORMAT,
    version: VERSION,
    nodes: graph.nodes.map(({ op, inputs, name, foldName, rules }) => ({
      op,
      inputs,
      name,
      ...(foldName === undefined ? {} : { foldName }),
      ...(rules === undefined ? {} : { rules }),
    })),
    outputs: graph.outputs,
  };
  return JSON.stringify(serialized);
}

/** Throws a RepkitError of kind `file` where the text is not a well-formed graph. */
export function graphFromJson(text: string): Graph {
  let parsed: unknown;
  try {
    parsed = JSON.parse(text);
  } catch (cause) {
    throw new RepkitError("file", "graph: not JSON", { cause });
  }
  const top = fields("graph", parsed, ["format", "version", "nodes", "outputs"]);
  if (top["format"] !== FORMAT) throw malformed("graph.format", `"${FORMAT}"`, top["format"]);
  if (top["version"] !== VERSION) throw malformed("graph.version", `${VERSION}`, top["version"]);
  const nodes: Node[] = [];
  for (const [id, entry] of array("graph.nodes", top["nodes"]).entries()) {
    nodes.push(readNode(entry, id, nodes));
  }
  const outputs = array("graph.outputs", top["outputs"]).map((entry, position) => {
    const path = `graph.outputs[${position}]`;
    const output = fields(path, entry, ["name", "value"]);
    return {
      name: string(`${path}.name`, output["name"]),
      value: integer(`${path}.value`, output["value"]),
    };
  });
  const graph = { nodes, outputs };
  asFileError(() => {
    verifyGraph(graph);
  });
  return graph;
}

function readNode(entry: unknown, id: number, before: readonly Node[]): Node {
  const path = `graph.nodes[${id}]`;
  const node = fields(path, entry, ["op", "inputs", "name"], ["foldName", "rules"]);
  const op = readOp(`${path}.op`, node["op"]);
  const inputs = integers(`${path}.inputs`, node["inputs"]);
  const types = inputs.map((input) => {
    const source = before[input];
    if (source === undefined) throw malformed(`${path}.inputs`, "nodes before this one", input);
    return source.type;
  });
  const name = string(`${path}.name`, node["name"]);
  const type = asFileError(() => inferType(op, types), name);
  const foldName = node["foldName"];
  const rules = node["rules"];
  return {
    id,
    op,
    inputs,
    type,
    name,
    ...(foldName === undefined ? {} : { foldName: string(`${path}.foldName`, foldName) }),
    ...(rules === undefined ? {} : { rules: strings(`${path}.rules`, rules) }),
  };
}

/** The attributes of each op besides `kind`. */
const ATTRIBUTES: Record<OpKind, readonly string[]> = {
  input: ["shape", "mean", "std"],
  param: ["name", "shape", "role", "dtype", "init", "decay"],
  constant: ["shape", "fill"],
  conv2d: ["stride", "padding", "dilation", "groups"],
  batchNorm: ["eps", "momentum", "pad"],
  relu: [],
  silu: [],
  sigmoid: [],
  maxPool: ["kernel", "stride", "padding"],
  avgPool: ["kernel", "stride", "padding", "countIncludePad"],
  globalAvgPool: [],
  flatten: [],
  linear: [],
  add: [],
  mul: [],
  concat: [],
  sub: [],
  inverseStd: ["eps"],
  scale: [],
  einsum: ["equation"],
  embed: ["kernel", "offset", "dilation", "groups"],
  composeKernels: ["groups", "correlate"],
  reshape: ["shape"],
  select: ["index"],
  detach: [],
};

function readOp(path: string, value: unknown): Op {
  const kind = opKind(path, value);
  const op = fields(path, value, ["kind", ...ATTRIBUTES[kind]]);
  const at = (name: string) => [`${path}.${name}`, op[name]] as const;
  const window = () => ({
    kernel: tuple(...at("kernel"), 2),
    stride: tuple(...at("stride"), 2),
    padding: tuple(...at("padding"), 4),
  });
  switch (kind) {
    case "input":
      return {
        kind,
        shape: integers(...at("shape")),
        mean: numbers(...at("mean")),
        std: numbers(...at("std")),
      };
    case "param":
      return readParam(path, op);
    case "constant":
      return { kind, shape: integers(...at("shape")), fill: readFill(...at("fill")) };
    case "conv2d":
      return {
        kind,
        stride: tuple(...at("stride"), 2),
        padding: tuple(...at("padding"), 4),
        dilation: tuple(...at("dilation"), 2),
        groups: integer(...at("groups")),
      };
    case "batchNorm":
      return {
        kind,
        eps: number(...at("eps")),
        momentum: number(...at("momentum")),
        pad: tuple(...at("pad"), 4),
      };
    case "maxPool":
      return { kind, ...window() };
    case "avgPool":
      return { kind, ...window(), countIncludePad: boolean(...at("countIncludePad")) };
    case "inverseStd":
      return { kind, eps: number(...at("eps")) };
    case "einsum":
      return { kind, equation: string(...at("equation")) };
    case "embed": {
      const [groupsPath, groups] = at("groups");
      const { from, to } = fields(groupsPath, groups, ["from", "to"]);
      return {
        kind,
        kernel: tuple(...at("kernel"), 2),
        offset: tuple(...at("offset"), 2),
        dilation: tuple(...at("dilation"), 2),
        groups: { from: integer(`${groupsPath}.from`, from), to: integer(`${groupsPath}.to`, to) },
      };
    }
    case "composeKernels":
      return { kind, groups: integer(...at("groups")), correlate: boolean(...at("correlate")) };
    case "reshape":
      return { kind, shape: integers(...at("shape")) };
    case "select":
      return { kind, index: integer(...at("index")) };
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
      return { kind };
  }
}

function opKind(path: string, value: unknown): OpKind {
  const kind = object(path, value)["kind"];
  if (typeof kind === "string" && Object.hasOwn(ATTRIBUTES, kind)) return kind as OpKind;
  throw malformed(`${path}.kind`, "a known op", kind);
}

function readParam(path: string, op: Fields): ParamOp {
  return {
    kind: "param",
    name: string(`${path}.name`, op["name"]),
    shape: integers(`${path}.shape`, op["shape"]),
    role: oneOf(`${path}.role`, op["role"], ["param", "buffer"] as const),
    dtype: oneOf(`${path}.dtype`, op["dtype"], ["f32", "i64"] as const),
    init: readInitialiser(`${path}.init`, op["init"]),
    decay: oneOf(`${path}.decay`, op["decay"], [
      "kernel",
      "bias",
      "norm",
      "branchScale",
      "none",
    ] as const),
  };
}

function readInitialiser(path: string, value: unknown): Initialiser {
  const kind = object(path, value)["kind"];
  if (kind === "kaimingUniform") {
    return { kind, a: number(`${path}.a`, fields(path, value, ["kind", "a"])["a"]) };
  }
  if (kind === "uniform") {
    return {
      kind,
      bound: number(`${path}.bound`, fields(path, value, ["kind", "bound"])["bound"]),
    };
  }
  return readFill(path, value);
}

function readFill(path: string, value: unknown): Fill {
  const kind = object(path, value)["kind"];
  switch (kind) {
    case "constant":
      return {
        kind,
        value: number(`${path}.value`, fields(path, value, ["kind", "value"])["value"]),
      };
    case "rows":
      return {
        kind,
        values: numbers(`${path}.values`, fields(path, value, ["kind", "values"])["values"]),
      };
    case "identity":
    case "frequencyPrior":
      fields(path, value, ["kind"]);
      return { kind };
    default:
      throw malformed(`${path}.kind`, "a known fill", kind);
  }
}

// --- Checked access to unknown values

type Fields = Readonly<Record<string, unknown>>;

function object(path: string, value: unknown): Fields {
  if (typeof value !== "object" || value === null || Array.isArray(value)) {
    throw malformed(path, "an object", value);
  }
  return value as Fields;
}

function fields(
  path: string,
  value: unknown,
  required: readonly string[],
  optional: readonly string[] = [],
): Fields {
  const found = object(path, value);
  for (const name of required) {
    if (!Object.hasOwn(found, name)) throw malformed(`${path}.${name}`, "a value", undefined);
  }
  for (const name of Object.keys(found)) {
    if (!required.includes(name) && !optional.includes(name)) {
      throw malformed(`${path}.${name}`, "no such field", found[name]);
    }
  }
  return found;
}

function array(path: string, value: unknown): readonly unknown[] {
  if (!Array.isArray(value)) throw malformed(path, "an array", value);
  return value as readonly unknown[];
}

function numbers(path: string, value: unknown): readonly number[] {
  return array(path, value).map((item, index) => number(`${path}[${index}]`, item));
}

function integers(path: string, value: unknown): readonly number[] {
  return array(path, value).map((item, index) => integer(`${path}[${index}]`, item));
}

function strings(path: string, value: unknown): readonly string[] {
  return array(path, value).map((item, index) => string(`${path}[${index}]`, item));
}

function tuple(path: string, value: unknown, length: 2): readonly [number, number];
function tuple(path: string, value: unknown, length: 4): readonly [number, number, number, number];
function tuple(path: string, value: unknown, length: number): readonly number[] {
  const items = integers(path, value);
  if (items.length !== length) throw malformed(path, `${length} numbers`, value);
  return items;
}

function number(path: string, value: unknown): number {
  if (typeof value !== "number") throw malformed(path, "a number", value);
  return value;
}

function integer(path: string, value: unknown): number {
  if (!Number.isSafeInteger(value)) throw malformed(path, "a whole number", value);
  return value as number;
}

function boolean(path: string, value: unknown): boolean {
  if (typeof value !== "boolean") throw malformed(path, "true or false", value);
  return value;
}

function string(path: string, value: unknown): string {
  if (typeof value !== "string") throw malformed(path, "a string", value);
  return value;
}

function oneOf<T extends string>(path: string, value: unknown, choices: readonly T[]): T {
  const found = choices.find((choice) => choice === value);
  if (found === undefined) throw malformed(path, choices.join(" or "), value);
  return found;
}

function malformed(path: string, expected: string, found: unknown): RepkitError {
  return new RepkitError("file", `${path}: expected ${expected}, found ${shown(found)}`);
}

/** A short text for any value; never deeper than one level, since hostile files nest without end. */
function shown(value: unknown): string {
  if (Array.isArray(value)) return `an array of ${value.length}`;
  if (typeof value === "object" && value !== null) return "an object";
  return (JSON.stringify(value) ?? "nothing").slice(0, 60);
}

/** What a builder would call a wrong argument is, in a file, a wrong file. */
function asFileError<T>(run: () => T, node?: string): T {
  try {
    return run();
  } catch (error) {
    if (!(error instanceof GraphError)) throw error;
    const { message, details } = node === undefined ? error : error.at(node);
    throw new RepkitError("file", `graph: ${message}`, { cause: error, details });
  }
}
