/** The verifier: is a graph well formed? Every pass that makes a graph can be followed by it. */
import { formatType } from "./checks.js";
import { GraphError } from "./errors.js";
import { inferType } from "./infer.js";
import { sameShape } from "./tensor.js";
import type { Graph, Node, ValueType } from "./types.js";

/**
 * Checks ids, order, arity, attributes, types, parameter names and outputs. Throws GraphError that
 * names node and op and says what was expected and what was found.
 */
export function verifyGraph(graph: Graph): void {
  const names = new Set<string>();
  for (const [position, node] of graph.nodes.entries()) {
    verifyNode(graph, node, position);
    if (node.op.kind === "param") {
      if (names.has(node.op.name)) {
        throw problem(node, "name", "one parameter of each name", `a second "${node.op.name}"`);
      }
      names.add(node.op.name);
    }
  }
  verifyOutputs(graph);
}

function verifyNode(graph: Graph, node: Node, position: number): void {
  if (node.id !== position) {
    throw problem(node, "id", `${position}, its position`, `${node.id}`);
  }
  const inputs: ValueType[] = node.inputs.map((input) => {
    const source = graph.nodes[input];
    if (source === undefined || input >= position) {
      throw problem(node, "input", `a node before ${position}`, `${input}`);
    }
    return source.type;
  });
  const expected = inferNode(node, inputs);
  if (node.type.world !== expected.world || !sameShape(node.type.shape, expected.shape)) {
    throw problem(node, "type", formatType(expected), formatType(node.type));
  }
}

function inferNode(node: Node, inputs: readonly ValueType[]): ValueType {
  try {
    return inferType(node.op, inputs);
  } catch (error) {
    throw error instanceof GraphError ? error.at(node.name) : error;
  }
}

function verifyOutputs(graph: Graph): void {
  const seen = new Set<string>();
  const fail = (expected: string, found: string) =>
    new GraphError({ node: "", op: "graph", what: "outputs", expected, found });
  if (graph.outputs.length === 0) throw fail("at least one", "none");
  for (const { name, value } of graph.outputs) {
    if (graph.nodes[value] === undefined) {
      throw fail(`"${name}" to be one of ${graph.nodes.length} nodes`, `${value}`);
    }
    if (seen.has(name)) throw fail("one output of each name", `a second "${name}"`);
    seen.add(name);
  }
}

function problem(node: Node, what: string, expected: string, found: string): GraphError {
  return new GraphError({ node: node.name, op: node.op.kind, what, expected, found });
}
