// What the structural hash sees, and what it does not.

import { describe, expect, it } from "@jest/globals";

import {
  type Graph,
  type Node,
  type Op,
  type Scope,
  structuralHash,
} from "../../src/graph/index.js";
import { everyOpGraph } from "../helpers/every-op.js";
import { graphOf, weight } from "../helpers/graphs.js";

/** Two convolutions side by side, and their sum. */
function pair(
  options: {
    order?: "left first" | "right first";
    parameters?: readonly string[];
    name?: string;
    scopeName?: string;
    stride?: number;
    swap?: boolean;
    outputs?: readonly string[];
    alone?: boolean;
  } = {},
): Graph {
  const { order = "left first", parameters = ["left", "right"], outputs = ["y"] } = options;
  return graphOf((scope) => {
    const kernels = new Map(parameters.map((name) => [name, weight(scope, name, [2, 2, 3, 3])]));
    const x = scope.input([2, 9, 9]);
    const inner: Scope = scope.child(options.scopeName ?? "layer");
    const conv = (name: string) =>
      inner.conv2d(x, kernels.get(name)!, undefined, { stride: options.stride ?? 1 });
    const ordered = order === "left first" ? ["left", "right"] : ["right", "left"];
    const values = new Map(ordered.map((name) => [name, conv(name)]));
    const terms = [values.get("left")!, values.get("right")!];
    const sum = inner.add(options.swap === true ? terms.reverse() : terms, options.name ?? "add");
    return Object.fromEntries(outputs.map((name) => [name, sum]));
  });
}

describe("structuralHash", () => {
  const reference = structuralHash(pair());

  it("is 64 hexadecimal digits, the same for the same graph", () => {
    expect(reference).toMatch(/^[0-9a-f]{64}$/);
    expect(structuralHash(pair())).toBe(reference);
  });

  it.each<[string, Graph]>([
    ["the names of nodes", pair({ name: "sum", scopeName: "other" })],
    ["the order of independent nodes, and with it their ids", pair({ order: "right first" })],
  ])("ignores %s", (_name, graph) => {
    expect(structuralHash(graph)).toBe(reference);
  });

  it("ignores the labels of rewriting", () => {
    const { nodes, outputs } = pair();
    const labelled = nodes.map((node): Node => ({ ...node, foldName: "conv", rules: ["sum"] }));
    expect(structuralHash({ nodes: labelled, outputs })).toBe(reference);
  });

  it("ignores a node that nothing uses and that is no parameter", () => {
    const { nodes, outputs } = pair();
    const unused: Node = { ...nodes.at(-1)!, id: nodes.length, op: { kind: "relu" }, inputs: [2] };
    expect(structuralHash({ nodes: [...nodes, unused], outputs })).toBe(reference);
  });

  it.each<[string, Graph]>([
    ["the order of parameters", pair({ parameters: ["right", "left"] })],
    ["a parameter that nothing uses", pair({ parameters: ["left", "right", "unused"] })],
    ["an attribute", pair({ stride: 2 })],
    ["the order of inputs", pair({ swap: true })],
    ["an output's name", pair({ outputs: ["z"] })],
    ["another output", pair({ outputs: ["y", "z"] })],
    ["the order of outputs", pair({ outputs: ["z", "y"] })],
  ])("changes with %s", (_name, graph) => {
    expect(structuralHash(graph)).not.toBe(reference);
  });

  it("tells the order of two outputs apart", () => {
    expect(structuralHash(pair({ outputs: ["z", "y"] }))).not.toBe(
      structuralHash(pair({ outputs: ["y", "z"] })),
    );
  });

  it("changes with what an output is", () => {
    const { nodes } = pair();
    const of = (value: number) => structuralHash({ nodes, outputs: [{ name: "y", value }] });
    expect(of(3)).not.toBe(of(4));
  });

  it("knows an output's name from a parameter's", () => {
    const x = (name: string, outputs: string[]) =>
      structuralHash(
        graphOf((scope) => {
          const value = weight(scope, name, [2]);
          return Object.fromEntries(outputs.map((output) => [output, value]));
        }),
      );
    expect(x("a", ["b"])).not.toBe(x("b", ["a"]));
  });
});

describe("every attribute counts", () => {
  const graph = everyOpGraph();
  const reference = structuralHash(graph);

  /** The op with one leaf of its attributes changed, for each leaf; types are left as they were. */
  function variants(op: Op): readonly (readonly [path: string, op: Op])[] {
    const found: [string, Op][] = [];
    const walk = (value: unknown, path: readonly string[]): void => {
      if (typeof value === "object" && value !== null) {
        for (const [key, item] of Object.entries(value)) walk(item, [...path, key]);
        return;
      }
      if (path.at(-1) === "kind") return;
      const changed = structuredClone(op) as unknown as Record<string, unknown>;
      let holder = changed;
      for (const key of path.slice(0, -1)) holder = holder[key] as Record<string, unknown>;
      const leaf = path.at(-1)!;
      holder[leaf] =
        typeof value === "number"
          ? value + 1
          : typeof value === "boolean"
            ? !value
            : `${String(value)}x`;
      found.push([path.join("."), changed as unknown as Op]);
    };
    walk(op, []);
    return found;
  }

  const cases = graph.nodes.flatMap((node) =>
    variants(node.op)
      // A type says it already: these attributes are its extents.
      .filter(([path]) => !path.startsWith("shape"))
      .map(([path, op]) => [`${node.name} (${node.op.kind})`, path, node.id, op] as const),
  );

  it("has many to check", () => {
    expect(cases.length).toBeGreaterThan(60);
  });

  it.each(cases)("%s: %s", (_name, _path, id, op) => {
    const nodes = graph.nodes.map((node) => (node.id === id ? { ...node, op } : node));
    expect(structuralHash({ ...graph, nodes })).not.toBe(reference);
  });

  it("and so does a type", () => {
    const nodes = graph.nodes.map((node) =>
      node.op.kind === "input"
        ? { ...node, type: { world: "activation", shape: [4, 7, 6] } as const }
        : node,
    );
    expect(structuralHash({ ...graph, nodes })).not.toBe(reference);
  });
});
