// What each op refuses: node, op, what is wrong, expected and found.

import { describe, expect, it } from "@jest/globals";

import { GraphBuilder, inferType, type Op, type ValueType } from "../../src/graph/index.js";
import { mismatchOf } from "../helpers/graphs.js";
import {
  a,
  avgPool,
  batchNorm,
  compose,
  conv2d,
  einsum,
  embed,
  input,
  maxPool,
  param,
  valueOf,
  w,
} from "../helpers/types.js";

type Row = readonly [
  op: Op,
  inputs: readonly ValueType[],
  what: string,
  expected: string,
  found: string,
];

const kernel = w(4, 2, 3, 3);
const image = a(2, 8, 8);

const REFUSALS: readonly Row[] = [
  [input({ shape: [2, 4] }), [], "shape", "(channels,height,width)", "(2,4)"],
  [input({ mean: [0] }), [], "mean", "2 values", "1"],
  [input({ std: [1, 1, 1] }), [], "std", "2 values", "3"],
  [input({ std: [1, 0] }), [], "std", "positive values", "0"],
  [input({ shape: [2, 0, 4] }), [], "result", "extents of at least 1", "(2,0,4)"],
  [input(), [image], "inputs", "0", "1"],

  [param({ name: "" }), [], "name", "a state-dict name", '""'],
  [param(), [w(2)], "inputs", "0", "1"],
  [param({ dtype: "i64" }), [], "dtype", "f32, or a buffer of i64 that starts at 0", "i64"],
  [
    param({ dtype: "i64", role: "buffer", init: { kind: "constant", value: 1 } }),
    [],
    "dtype",
    "f32, or a buffer of i64 that starts at 0",
    "i64",
  ],
  [param({ shape: [3, 0] }), [], "result", "extents of at least 1", "(3,0)"],
  [
    param({ shape: [4], init: { kind: "kaimingUniform", a: 1 } }),
    [],
    "kaimingUniform",
    "at least two axes",
    "(4)",
  ],
  [param({ init: { kind: "uniform", bound: -1 } }), [], "bound", "0 or more", "-1"],
  [param({ init: { kind: "rows", values: [1, 2, 3] } }), [], "rows", "2", "3"],
  [param({ init: { kind: "identity" } }), [], "identity", "a kernel of four axes", "(2,3)"],
  [
    { kind: "constant", shape: [4, 3], fill: { kind: "frequencyPrior" } },
    [],
    "frequencyPrior",
    "three axes",
    "(4,3)",
  ],
  [
    { kind: "constant", shape: [], fill: { kind: "constant", value: 1 } },
    [w()],
    "inputs",
    "0",
    "1",
  ],

  [conv2d(), [image], "inputs", "2 to 3", "1"],
  [conv2d(), [image, kernel, w(4), w(4)], "inputs", "2 to 3", "4"],
  [conv2d(), [w(2, 8, 8), kernel], "input", "an activation (C,H,W)", "weight (2,8,8)"],
  [conv2d(), [a(128), kernel], "input", "an activation (C,H,W)", "activation (128)"],
  [conv2d(), [image, image], "input 1", "a weight", "activation (2,8,8)"],
  [conv2d(), [image, w(4, 2, 3)], "weight", "a kernel (O,I,H,W)", "(4,2,3)"],
  [conv2d(), [a(3, 8, 8), kernel], "weight", "3 input channels per group (input 3, groups 1)", "2"],
  [
    conv2d({ groups: 2 }),
    [a(3, 8, 8), kernel],
    "groups",
    "a divisor of 3 input and 4 output channels",
    "2",
  ],
  [
    conv2d({ groups: 3 }),
    [a(3, 8, 8), kernel],
    "groups",
    "a divisor of 3 input and 4 output channels",
    "3",
  ],
  [conv2d({ groups: 0 }), [image, kernel], "groups", "a whole number from 1", "0"],
  [conv2d(), [image, kernel, w(2)], "bias", "(4)", "(2)"],
  [conv2d(), [image, kernel, a(4)], "input 2", "a weight", "activation (4)"],
  [conv2d(), [a(2, 2, 8), kernel], "input", "at least 3x3 pixels with its padding", "2x8"],
  [
    conv2d({ dilation: [1, 4] }),
    [image, kernel],
    "input",
    "at least 3x9 pixels with its padding",
    "8x8",
  ],
  [
    conv2d({ padding: [-3, -3, 0, 0] }),
    [image, kernel],
    "input",
    "at least 3x3 pixels with its padding",
    "2x8",
  ],
  [conv2d({ stride: [0, 1] }), [image, kernel], "stride", "a whole number from 1", "0"],
  [conv2d({ dilation: [1, 0.5] }), [image, kernel], "dilation", "a whole number from 1", "0.5"],
  [conv2d({ padding: [0, 0.5, 0, 0] }), [image, kernel], "padding", "whole numbers", "(0,0.5,0,0)"],

  [batchNorm(), [image, w(2), w(2), w(2)], "inputs", "5 to 6", "4"],
  [batchNorm(), [a(2), w(2), w(2), w(2), w(2)], "input", "an activation (C,H,W)", "activation (2)"],
  [batchNorm(), [image, w(3), w(2), w(2), w(2)], "gamma", "(2)", "(3)"],
  [batchNorm(), [image, w(2), w(3), w(2), w(2)], "beta", "(2)", "(3)"],
  [batchNorm(), [image, w(2), w(2), w(3), w(2)], "runningMean", "(2)", "(3)"],
  [batchNorm(), [image, w(2), w(2), w(2), w(2, 1)], "runningVar", "(2)", "(2,1)"],
  [batchNorm(), [image, w(2), w(2), w(2), w(2), w(1)], "counter", "()", "(1)"],
  [batchNorm({ eps: 0 }), [image, w(2), w(2), w(2), w(2)], "eps", "a positive number", "0"],
  [batchNorm({ momentum: 1.5 }), [image, w(2), w(2), w(2), w(2)], "momentum", "0 to 1", "1.5"],
  [
    batchNorm({ pad: [-1, 0, 0, 0] }),
    [image, w(2), w(2), w(2), w(2)],
    "padding",
    "whole numbers from 0",
    "(-1,0,0,0)",
  ],

  [{ kind: "relu" }, [w(2)], "input", "an activation (C,H,W)", "weight (2)"],
  [{ kind: "silu" }, [image, image], "inputs", "1", "2"],
  [{ kind: "sigmoid" }, [], "inputs", "1", "0"],
  [
    maxPool({ padding: [2, 0, 0, 0] }),
    [image],
    "padding",
    "at most half the kernel 2x2",
    "(2,0,0,0)",
  ],
  [maxPool({ kernel: [9, 1] }), [image], "input", "at least 9x1 pixels with its padding", "8x8"],
  [maxPool({ stride: [1, 0] }), [image], "stride", "a whole number from 1", "0"],
  [avgPool({ padding: [0, 0, 0, -1] }), [image], "padding", "whole numbers from 0", "(0,0,0,-1)"],
  [avgPool({ kernel: [0, 3] }), [image], "kernel", "a whole number from 1", "0"],
  [avgPool(), [w(2, 8, 8)], "input", "an activation (C,H,W)", "weight (2,8,8)"],
  [{ kind: "globalAvgPool" }, [a(2)], "input", "an activation (C,H,W)", "activation (2)"],
  [{ kind: "flatten" }, [a(2)], "input", "an activation (C,H,W)", "activation (2)"],
  [{ kind: "linear" }, [image, w(2, 128)], "input", "a flattened activation", "activation (2,8,8)"],
  [{ kind: "linear" }, [a(5), w(3, 4)], "weight", "(outputs,5)", "(3,4)"],
  [{ kind: "linear" }, [a(5), w(3, 5), w(5)], "bias", "(3)", "(5)"],

  [{ kind: "add" }, [image], "inputs", "at least 2", "1"],
  [{ kind: "add" }, [image, a(2, 8, 7)], "inputs", "activation (2,8,8)", "activation (2,8,7)"],
  [{ kind: "add" }, [w(2), w(2), w(1)], "inputs", "weight (2)", "weight (1)"],
  [{ kind: "add" }, [a(2), w(2)], "inputs", "activation (2)", "weight (2)"],
  [{ kind: "mul" }, [image, a(1, 1, 1)], "inputs", "activation (2,8,8)", "activation (1,1,1)"],
  [{ kind: "mul" }, [a(2, 1, 1), image], "inputs", "activation (2,1,1)", "activation (2,8,8)"],
  [{ kind: "mul" }, [w(2, 8, 8), w(2, 1, 1)], "inputs", "weight (2,8,8)", "weight (2,1,1)"],
  [{ kind: "mul" }, [image], "inputs", "2", "1"],
  [{ kind: "concat" }, [image], "inputs", "at least 2", "1"],
  [{ kind: "concat" }, [image, a(2, 8, 7)], "input", "activation (*,8,8)", "activation (2,8,7)"],
  [{ kind: "concat" }, [w(2), a(2)], "input", "weight (*)", "activation (2)"],
  [{ kind: "concat" }, [w(), w()], "input", "weight (*)", "weight ()"],

  [{ kind: "sub" }, [a(2), a(2)], "input 0", "a weight", "activation (2)"],
  [{ kind: "sub" }, [w(2), w(3)], "inputs", "weight (2)", "weight (3)"],
  [{ kind: "inverseStd", eps: 1 }, [a(2)], "input 0", "a weight", "activation (2)"],
  [{ kind: "detach" }, [a(2)], "input 0", "a weight", "activation (2)"],
  [{ kind: "detach" }, [w(2), w(2)], "inputs", "1", "2"],
  [{ kind: "scale" }, [w(4, 2), w(2)], "scale", "(4)", "(2)"],
  [{ kind: "scale" }, [w(4, 2), a(4)], "input 1", "a weight", "activation (4)"],
  [einsum("ab"), [w(2, 2)], "equation", 'a form like "oi,hw->oihw"', '"ab"'],
  [einsum("aa->a"), [w(2, 2)], "equation", 'a form like "oi,hw->oihw"', '"aa->a"'],
  [einsum("a->b"), [w(2)], "equation", 'a form like "oi,hw->oihw"', '"a->b"'],
  [einsum("a,b,c->a"), [w(2)], "equation", 'a form like "oi,hw->oihw"', '"a,b,c->a"'],
  [einsum("a,b->ab"), [w(2)], "inputs", "2", "1"],
  [einsum("ab->ba"), [w(2)], "equation ab->ba", "operands that fit it", '"ab" for rank 1'],
  [
    einsum("ab,bc->ac"),
    [w(2, 3), w(4, 5)],
    "equation ab,bc->ac",
    "operands that fit it",
    "index b of extent 3 and 4",
  ],
  [
    embed({ kernel: [3, 2] }),
    [w(1, 1, 1, 2)],
    "kernel",
    "room for 1x2 at (1,1) with dilation 1x1",
    "3x2",
  ],
  [
    embed({ offset: [-1, 0] }),
    [w(1, 1, 1, 1)],
    "kernel",
    "room for 1x1 at (-1,0) with dilation 1x1",
    "3x3",
  ],
  [
    embed({ offset: [0, 0], dilation: [1, 2] }),
    [w(1, 1, 3, 3)],
    "kernel",
    "room for 3x3 at (0,0) with dilation 1x2",
    "3x3",
  ],
  [embed({ groups: { from: 3, to: 2 } }), [w(6, 1, 1, 1)], "groups.from", "a multiple of 2", "3"],
  [
    embed({ groups: { from: 4, to: 2 } }),
    [w(6, 1, 1, 1)],
    "groups",
    "a divisor of 4 input and 6 output channels",
    "4",
  ],
  [
    embed({ groups: { from: 1, to: 0 } }),
    [w(6, 1, 1, 1)],
    "groups.to",
    "a whole number from 1",
    "0",
  ],
  [compose(), [w(4, 2, 1, 1), w(3, 2, 1, 1)], "second kernel", "4 input channels per group", "2"],
  [
    compose({ groups: 2 }),
    [w(3, 2, 1, 1), w(4, 1, 1, 1)],
    "groups",
    "a divisor of 3 input and 4 output channels",
    "2",
  ],
  [compose(), [w(4, 2), w(3, 4, 1, 1)], "weight", "a kernel (O,I,H,W)", "(4,2)"],
  [{ kind: "reshape", shape: [5] }, [w(2, 3)], "shape", "the elements of (2,3)", "(5)"],
  [{ kind: "reshape", shape: [-2, -3] }, [w(2, 3)], "result", "extents of at least 1", "(-2,-3)"],
  [{ kind: "reshape", shape: [6] }, [a(2, 3, 1)], "input 0", "a weight", "activation (2,3,1)"],
  [{ kind: "select", index: 2 }, [w(2, 3)], "index", "a row below 2", "2"],
  [{ kind: "select", index: -1 }, [w(2, 3)], "index", "a row below 2", "-1"],
  [{ kind: "select", index: 0 }, [w()], "index", "a row below 0", "0"],
];

describe("what an op refuses", () => {
  it.each(
    REFUSALS.map(
      ([op, inputs, what, expected, found]) =>
        [op.kind, what, expected, found, op, inputs] as const,
    ),
  )("%s: %s: expected %s, found %s", (kind, what, expected, found, op, inputs) => {
    const mismatch = { node: "stage1.0.layer", op: kind, what, expected, found };
    const builder = new GraphBuilder();
    const values = inputs.map((type, position) => valueOf(builder, type, `input${position}`));
    expect(mismatchOf(() => builder.add(op, values, "stage1.0.layer"))).toEqual(mismatch);
    // Outside a graph there is no node to name.
    expect(mismatchOf(() => inferType(op, inputs))).toEqual({ ...mismatch, node: "" });
  });
});
