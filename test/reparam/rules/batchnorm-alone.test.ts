// Rule I for a batch norm without a convolution: RepVGG's identity branch.

import { describe, expect, it } from "@jest/globals";

import type { Padding } from "../../../src/graph/index.js";
import { convNamed, expectUntouched, foldExactly, normNamed } from "../../helpers/folding.js";
import { graphOf } from "../../helpers/graphs.js";

const RULE = "I batchnorm-alone";

describe("a batch norm beside a convolution is a branch", () => {
  it.each([1, 2, 4])("groups %i", (groups) => {
    const graph = graphOf((scope) => {
      const x = scope.input([4, 6, 5]);
      const y = convNamed(scope, "conv", x, { padding: 1, groups });
      return scope.add([normNamed(scope, "bn1", y), normNamed(scope, "bn2", x)]);
    });
    const { fired, kinds, convolutions } = foldExactly(graph);
    expect(fired).toMatchObject({ [RULE]: 1, "II parallel": 1 });
    expect(kinds).toEqual(["conv2d"]);
    expect(convolutions[0]!.op).toMatchObject({ groups, padding: [1, 1, 1, 1] });
  });

  it("of a convolution that others use too", () => {
    const graph = graphOf((scope) => {
      const x = convNamed(scope, "stem", scope.input([4, 6, 5]), { padding: 1 });
      const y = convNamed(scope, "conv", x, { padding: 1 });
      return scope.add([y, normNamed(scope, "bn", x)]);
    });
    const { fired, kinds } = foldExactly(graph);
    expect(fired).toMatchObject({ [RULE]: 1, "II parallel": 1 });
    expect(kinds).toEqual(["conv2d", "conv2d"]);
  });

  it.each<[name: string, pad: Padding]>([
    ["a border all around", [1, 1, 1, 1]],
    ["a border on two sides", [0, 2, 1, 1]],
  ])("with %s, which is padding", (_name, pad) => {
    const graph = graphOf((scope) => {
      const x = scope.input([4, 6, 5]);
      const y = convNamed(scope, "conv", x, {
        padding: [1 + pad[0], 1 + pad[1], 1 + pad[2], 1 + pad[3]],
      });
      return scope.add([y, normNamed(scope, "bn", x, pad)]);
    });
    const { fired, kinds } = foldExactly(graph);
    expect(fired).toMatchObject({ [RULE]: 1, "II parallel": 1 });
    expect(kinds).toEqual(["conv2d"]);
  });

  it("before a convolution without padding", () => {
    const graph = graphOf((scope) =>
      convNamed(scope, "conv", normNamed(scope, "bn", scope.relu(scope.input([4, 6, 5])))),
    );
    const { fired, kinds } = foldExactly(graph);
    expect(fired).toMatchObject({ [RULE]: 1, "III sequence": 1 });
    expect(kinds).toEqual(["relu", "conv2d"]);
  });
});

describe("a batch norm that meets no convolution stays one", () => {
  it("after a ReLU", () => {
    const graph = graphOf((scope) => normNamed(scope, "bn", scope.relu(scope.input([4, 6, 5]))));
    expect(expectUntouched(graph).fired).toEqual({ [RULE]: 1 });
  });

  it("after a ReLU, with a border", () => {
    const graph = graphOf((scope) => normNamed(scope, "bn", scope.relu(scope.input([4, 6, 5])), 1));
    expectUntouched(graph);
  });

  it("before a convolution with padding, which it would change", () => {
    const graph = graphOf((scope) => {
      const x = normNamed(scope, "bn", scope.relu(scope.input([4, 6, 5])));
      return convNamed(scope, "conv", x, { padding: 1 });
    });
    expectUntouched(graph);
  });

  it("beside a convolution of another value", () => {
    const graph = graphOf((scope) => {
      const x = scope.input([4, 6, 5]);
      const y = convNamed(scope, "conv", x, { padding: 1 });
      return scope.add([y, normNamed(scope, "bn", scope.relu(x))]);
    });
    expectUntouched(graph);
  });

  it("after a sum of other things", () => {
    const graph = graphOf((scope) => {
      const x = scope.input([4, 6, 5]);
      return normNamed(scope, "bn", scope.add([scope.relu(x), scope.silu(x)]));
    });
    expectUntouched(graph);
  });
});
