// A sum of sums is one sum, a concatenation of concatenations one concatenation.

import { describe, expect, it } from "@jest/globals";

import type { Scope, Value } from "../../../src/graph/index.js";
import { convNamed, expectUntouched, foldExactly, reasonsAt } from "../../helpers/folding.js";
import { graphOf } from "../../helpers/graphs.js";

const RULE = "II nested-sum";
const branch = (scope: Scope, x: Value, name: string) =>
  convNamed(scope, name, x, { padding: 1, bias: true });

describe("nested sums fold as one", () => {
  it("two deep, on either side", () => {
    const graph = graphOf((scope) => {
      const x = scope.input([4, 6, 5]);
      const [a, b, c, d] = ["a", "b", "c", "d"].map((name) => branch(scope, x, name));
      return scope.add([
        scope.add([a!, b!]),
        scope.add([c!, scope.add([d!, branch(scope, x, "e")])]),
      ]);
    });
    const { fired, kinds, groups } = foldExactly(graph);
    expect(kinds).toEqual(["conv2d"]);
    expect(fired["II parallel"]).toBeGreaterThanOrEqual(1);
    expect(groups[0]!.replaced).toHaveLength(9); // five convolutions, four sums
  });

  it("around what keeps the inner sum from folding", () => {
    const graph = graphOf((scope) => {
      const x = scope.input([4, 6, 5]);
      const inner = scope.add([scope.relu(x), branch(scope, x, "a")], "inner");
      return scope.add([inner, branch(scope, x, "b")], "outer");
    });
    const { fired, kinds } = foldExactly(graph);
    expect(fired).toEqual({ [RULE]: 1, "II parallel": 1 });
    expect(kinds.filter((kind) => kind === "add")).toHaveLength(1);
    expect(kinds.filter((kind) => kind === "conv2d")).toHaveLength(1);
  });

  it("and a sum that is added twice counts twice", () => {
    const graph = graphOf((scope) => {
      const x = scope.input([4, 6, 5]);
      const inner = scope.add([branch(scope, x, "a"), scope.relu(x)], "inner");
      return scope.add([inner, inner], "outer");
    });
    const { fired } = foldExactly(graph);
    expect(fired).toMatchObject({ [RULE]: 1 });
  });

  it("as nested concatenations do", () => {
    const graph = graphOf((scope) => {
      const x = scope.input([4, 6, 5]);
      const [a, b, c] = ["a", "b", "c"].map((name) => branch(scope, x, name));
      return scope.concat([scope.concat([a!, b!]), c!]);
    });
    const { fired, kinds } = foldExactly(graph);
    expect(fired["IV depth-concat"]).toBeGreaterThanOrEqual(1);
    expect(kinds).toEqual(["conv2d"]);
  });

  it("in the order of their operands", () => {
    const graph = graphOf((scope) => {
      const x = scope.input([4, 6, 5]);
      const inner = scope.concat([scope.relu(x, "first"), scope.silu(x, "second")], "inner");
      return scope.concat([inner, scope.sigmoid(x, "third")], "outer");
    });
    const { fired, graph: folded } = foldExactly(graph);
    expect(fired).toEqual({ [RULE]: 1 });
    const outer = folded.nodes.at(-1)!;
    expect(outer.inputs.map((id) => folded.nodes[id]!.name)).toEqual(["first", "second", "third"]);
  });
});

describe("a nested sum stays where", () => {
  it("the inner one has a second consumer", () => {
    const graph = graphOf((scope) => {
      const x = scope.relu(scope.input([4, 6, 5]));
      const inner = scope.add([x, scope.silu(x)], "inner");
      return { y: scope.add([inner, x], "outer"), z: scope.relu(inner) };
    });
    expect(expectUntouched(graph).fired).toEqual({});
  });

  it("the inner one is the output of a block", () => {
    const graph = graphOf((scope) => {
      const x = scope.relu(scope.input([4, 6, 5]));
      const inner = scope.add([x, scope.silu(x)], "inner");
      return scope.add([scope.builder.labelFold(inner, "block"), x], "outer");
    });
    expect(expectUntouched(graph).fired).toEqual({});
  });

  it("a concatenation is added, or a sum concatenated", () => {
    const graph = graphOf((scope) => {
      const x = scope.relu(scope.input([4, 6, 5]));
      const joined = scope.concat([x, x], "joined");
      const sum = scope.add([joined, scope.relu(joined)], "sum");
      return scope.concat([sum, x], "outer");
    });
    const checked = expectUntouched(graph);
    expect(checked.fired).toEqual({});
    expect(reasonsAt(checked, "outer")).toEqual([
      'IV depth-concat: its operand add "sum" is not a convolution of its own',
    ]);
  });
});
