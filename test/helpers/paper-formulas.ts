// The equivalent kernel and bias of every reference block, once more: the formulas of the papers in
// plain loops over float64 numbers, apart from everything in src/. Kernels are O,I,H,W, I per group.

import type { Float64Tensor, State } from "../../src/graph/index.js";
import { tensorOf } from "./definitions.js";
import type { BlockReference } from "./fixtures.js";
import { at, build } from "./numbers.js";

export interface KernelAndBias {
  kernel: Float64Tensor;
  bias: Float64Tensor;
}

const { floor, sqrt } = Math;
const EPS = 1e-5;
const EXPANSION = 8; // depthwise channels per input in OREPA's separable term

/** What the reference's own conversion of this block computes, without its float32 rounding. */
export function equivalentConvolution(reference: BlockReference, state: State): KernelAndBias {
  const number = (name: string) => reference.arguments[name] as number | undefined;
  const size = number("kernel_size") ?? 1;
  const groups = number("groups") ?? 1;
  const inputs = number("in_channels") ?? 0;
  const out = number("out_channels") ?? 0;
  const shape = { size, groups, inputs, out };
  switch (reference.class) {
    case "ConvBN":
      return fused(state, "conv.weight", "bn");
    case "ACBlock":
      return asymmetric(state, size);
    case "DiverseBranchBlock":
      return diverseBranches(state, shape);
    case "RepVGGBlock":
    case "RepVGGplusBlock":
      return repVgg(state, shape, fused(state, "rbr_dense.conv.weight", "rbr_dense.bn"));
    case "RepVGGBlock_OREPA": {
      const dense = orepaVggKernel(state, shape);
      return repVgg(state, shape, fuse(dense, undefined, norm(state, "rbr_dense.bn")));
    }
    case "OREPA":
      return fuse(orepaKernel(state, "", shape), undefined, norm(state, "bn"));
    case "OREPA_1x1":
      return fuse(pointKernel(state), undefined, norm(state, "bn"));
    case "OREPA_LargeConv":
    case "OREPA_LargeConvBase":
      return fuse(largeKernel(state, shape), undefined, norm(state, "bn"));
    default:
      throw new Error(`no formula for ${reference.class}`);
  }
}

interface BlockShape {
  size: number;
  groups: number;
  inputs: number;
  out: number;
}

// --- I: convolution and batch norm

interface Norm {
  gamma: Float64Tensor;
  beta: Float64Tensor;
  mean: Float64Tensor;
  variance: Float64Tensor;
}

function norm(state: State, name: string): Norm {
  return {
    gamma: tensorOf(state, `${name}.weight`),
    beta: tensorOf(state, `${name}.bias`),
    mean: tensorOf(state, `${name}.running_mean`),
    variance: tensorOf(state, `${name}.running_var`),
  };
}

/** W' = W gamma / std, b' = beta + (b - mean) gamma / std. */
function fuse(kernel: Float64Tensor, bias: Float64Tensor | undefined, bn: Norm): KernelAndBias {
  const std = (o: number) => sqrt(bn.variance.data[o]! + EPS);
  return {
    kernel: build(kernel.shape, (place) => {
      const [o = 0] = place;
      return (at(kernel, place) * bn.gamma.data[o]!) / std(o);
    }),
    bias: build(bn.beta.shape, ([o = 0]) => {
      const before = bias?.data[o] ?? 0;
      return bn.beta.data[o]! + ((before - bn.mean.data[o]!) * bn.gamma.data[o]!) / std(o);
    }),
  };
}

function fused(state: State, kernel: string, bn: string): KernelAndBias {
  return fuse(tensorOf(state, kernel), undefined, norm(state, bn));
}

// --- II: branches that are added

function sum(...branches: readonly KernelAndBias[]): KernelAndBias {
  const [first] = branches as [KernelAndBias];
  const total = (part: (branch: KernelAndBias) => Float64Tensor) =>
    build(part(first).shape, (place) =>
      branches.reduce((value, branch) => value + at(part(branch), place), 0),
    );
  return { kernel: total(({ kernel }) => kernel), bias: total(({ bias }) => bias) };
}

// --- III: 1x1, then KxK within each group

function sequence(first: KernelAndBias, second: KernelAndBias, groups: number): KernelAndBias {
  const [out = 0, inner = 0, height = 0, width = 0] = second.kernel.shape;
  const channel = (o: number, t: number) => floor(o / (out / groups)) * inner + t;
  return {
    kernel: sequenceKernel(first.kernel, second.kernel, groups),
    bias: build([out], ([o = 0]) => {
      let value = second.bias.data[o]!;
      for (let t = 0; t < inner; t++) {
        for (let h = 0; h < height; h++) {
          for (let w = 0; w < width; w++) {
            value += at(second.kernel, [o, t, h, w]) * first.bias.data[channel(o, t)]!;
          }
        }
      }
      return value;
    }),
  };
}

function sequenceKernel(
  first: Float64Tensor,
  second: Float64Tensor,
  groups: number,
): Float64Tensor {
  const [out = 0, inner = 0, height = 0, width = 0] = second.shape;
  const [, inputs = 0] = first.shape;
  return build([out, inputs, height, width], ([o = 0, i = 0, h = 0, w = 0]) => {
    const group = floor(o / (out / groups));
    let value = 0;
    for (let t = 0; t < inner; t++) {
      value += at(second, [o, t, h, w]) * at(first, [group * inner + t, i, 0, 0]);
    }
    return value;
  });
}

// --- V: the average; VI: small kernels at the centre of large ones

/** 1/K² where an output meets its own input. */
function averageKernel({ size, groups, inputs }: BlockShape, channels: number): Float64Tensor {
  const perGroup = inputs / groups;
  return build([channels, perGroup, size, size], ([o = 0, i = 0]) =>
    i === o % perGroup ? 1 / size ** 2 : 0,
  );
}

/** A kernel of h x w in the middle of one of K x K. */
function centred({ kernel, bias }: KernelAndBias, size: number): KernelAndBias {
  return { kernel: centredKernel(kernel, size), bias };
}

function centredKernel(kernel: Float64Tensor, size: number): Float64Tensor {
  const [out = 0, inputs = 0, height = 0, width = 0] = kernel.shape;
  const [top, left] = [(size - height) / 2, (size - width) / 2];
  return build([out, inputs, size, size], ([o = 0, i = 0, h = 0, w = 0]) => {
    const [u, v] = [h - top, w - left];
    const inside = u >= 0 && u < height && v >= 0 && v < width;
    return inside ? at(kernel, [o, i, u, v]) : 0;
  });
}

/** The kernel that passes every channel through. */
function identityKernel({ size, groups, inputs }: BlockShape, channels: number): Float64Tensor {
  const perGroup = inputs / groups;
  const middle = (size - 1) / 2;
  return build([channels, perGroup, size, size], ([o = 0, i = 0, h = 0, w = 0]) =>
    i === o % perGroup && h === middle && w === middle ? 1 : 0,
  );
}

// --- Blocks

/** Whatever the padding crops off or adds, the three kernels share their centre. */
function asymmetric(state: State, size: number): KernelAndBias {
  return sum(
    fused(state, "square_conv.weight", "square_bn"),
    centred(fused(state, "ver_conv.weight", "ver_bn"), size),
    centred(fused(state, "hor_conv.weight", "hor_bn"), size),
  );
}

function diverseBranches(state: State, shape: BlockShape): KernelAndBias {
  const { size, groups, inputs, out } = shape;
  const origin = fused(state, "dbb_origin.conv.weight", "dbb_origin.bn");
  const branches = [origin];
  if (state.has("dbb_1x1.conv.weight")) {
    branches.push(centred(fused(state, "dbb_1x1.conv.weight", "dbb_1x1.bn"), size));
  }
  const name = "dbb_1x1_kxk";
  const first = state.has(`${name}.idconv1.weight`)
    ? plus(tensorOf(state, `${name}.idconv1.weight`), identityKernel({ ...shape, size: 1 }, inputs))
    : tensorOf(state, `${name}.conv1.weight`);
  branches.push(
    sequence(
      fuse(first, undefined, norm(state, `${name}.bn1.bn`)),
      fused(state, `${name}.conv2.weight`, `${name}.bn2`),
      groups,
    ),
  );
  const norm2 = norm(state, "dbb_avg.avgbn");
  if (state.has("dbb_avg.conv.weight")) {
    const pooled = fuse(averageKernel({ ...shape, inputs: out }, out), undefined, norm2);
    branches.push(sequence(fused(state, "dbb_avg.conv.weight", "dbb_avg.bn.bn"), pooled, groups));
  } else {
    branches.push(fuse(averageKernel(shape, out), undefined, norm2));
  }
  return sum(...branches);
}

function repVgg(state: State, shape: BlockShape, dense: KernelAndBias): KernelAndBias {
  const branches = [dense, centred(fused(state, "rbr_1x1.conv.weight", "rbr_1x1.bn"), shape.size)];
  if (state.has("rbr_identity.weight")) {
    const identity = identityKernel(shape, shape.out);
    branches.push(fuse(identity, undefined, norm(state, "rbr_identity")));
  }
  return sum(...branches);
}

function plus(...terms: readonly Float64Tensor[]): Float64Tensor {
  const [first] = terms as [Float64Tensor];
  return build(first.shape, (place) => terms.reduce((value, term) => value + at(term, place), 0));
}

/** Multiplies each output's kernel by its entry in a row of `vector`. */
function scaled(kernel: Float64Tensor, vector: Float64Tensor, row: number): Float64Tensor {
  return build(kernel.shape, (place) => at(kernel, place) * at(vector, [row, place[0]!]));
}

/** OREPA's weight_gen. */
function orepaKernel(state: State, scope: string, shape: BlockShape): Float64Tensor {
  const { size, groups } = shape;
  const read = (name: string) => tensorOf(state, `${scope}weight_orepa_${name}`);
  const vector = tensorOf(state, `${scope}vector`);
  const identity = tensorOf(state, `${scope}id_tensor`);
  const first = plus(read("1x1_kxk_idconv1"), identity);
  return plus(
    scaled(read("origin"), vector, 0),
    scaled(spread(read("avg_conv"), read("avg_avg")), vector, 1),
    scaled(spread(read("pfir_conv"), read("prior")), vector, 2),
    scaled(sequenceKernel(first, read("1x1_kxk_conv2"), groups), vector, 3),
    scaled(centredKernel(read("1x1"), size), vector, 4),
    scaled(separable(read("gconv_dw"), read("gconv_pw"), shape), vector, 5),
  );
}

function orepaVggKernel(state: State, shape: BlockShape): Float64Tensor {
  const read = (name: string) => tensorOf(state, `rbr_dense.weight_rbr_${name}`);
  const vector = tensorOf(state, "rbr_dense.vector");
  const identity = tensorOf(state, "rbr_dense.id_tensor");
  const first = plus(read("1x1_kxk_idconv1"), identity);
  return plus(
    scaled(read("origin"), vector, 0),
    scaled(spread(read("avg_conv"), read("avg_avg")), vector, 1),
    scaled(spread(read("pfir_conv"), read("prior")), vector, 2),
    scaled(sequenceKernel(first, read("1x1_kxk_conv2"), 1), vector, 3),
    scaled(separable(read("gconv_dw"), read("gconv_pw"), shape), vector, 4),
  );
}

/** 1x1 kernels times one pattern of taps for all outputs [H,W], or one each [O,H,W]. */
function spread(point: Float64Tensor, pattern: Float64Tensor): Float64Tensor {
  const [out = 0, inputs = 0] = point.shape;
  const [height = 0, width = 0] = pattern.shape.slice(-2);
  return build([out, inputs, height, width], ([o = 0, i = 0, h = 0, w = 0]) => {
    const tap = pattern.shape.length === 2 ? [h, w] : [o, h, w];
    return at(point, [o, i, 0, 0]) * at(pattern, tap);
  });
}

/** Depthwise with eight channels an input, then 1x1 whose rows alternate between the groups. */
function separable(
  depthwise: Float64Tensor,
  pointwise: Float64Tensor,
  { size, groups, inputs, out }: BlockShape,
): Float64Tensor {
  const perGroup = inputs / groups;
  const outPerGroup = out / groups;
  return build([out, perGroup, size, size], ([o = 0, i = 0, h = 0, w = 0]) => {
    const group = floor(o / outPerGroup);
    const row = (o % outPerGroup) * groups + group;
    let value = 0;
    for (let t = 0; t < EXPANSION; t++) {
      const channel = (group * perGroup + i) * EXPANSION + t;
      value += at(depthwise, [channel, 0, h, w]) * at(pointwise, [row, i * EXPANSION + t, 0, 0]);
    }
    return value;
  });
}

function pointKernel(state: State): Float64Tensor {
  const read = (name: string) => tensorOf(state, `weight_or1x1_${name}`);
  const vector = tensorOf(state, "vector");
  const product = sequenceKernel(read("l2i_conv1"), read("l2i_conv2"), 1);
  return plus(scaled(read("origin"), vector, 0), scaled(product, vector, 1));
}

/** Each 3x3 kernel slides, unflipped, over the one that the others before it made. */
function largeKernel(state: State, shape: BlockShape): Float64Tensor {
  const layers = (shape.size - 1) / 2;
  const kernels = Array.from({ length: layers }, (_, layer) => {
    const inner = { ...shape, size: 3, inputs: layer === 0 ? shape.inputs : shape.out };
    return state.has(`weight${layer}`)
      ? tensorOf(state, `weight${layer}`)
      : orepaKernel(state, `weight${layer}.`, inner);
  });
  return kernels.reduce((merged, next) => correlated(merged, next, shape.groups));
}

/** `F.conv2d(merged, next, padding=2)`, with the inputs of `merged` as a batch. */
function correlated(merged: Float64Tensor, next: Float64Tensor, groups: number): Float64Tensor {
  const [out = 0, inner = 0] = next.shape;
  const [, inputs = 0, size = 0] = merged.shape;
  return build([out, inputs, size + 2, size + 2], ([o = 0, i = 0, h = 0, w = 0]) => {
    const group = floor(o / (out / groups));
    let value = 0;
    for (let t = 0; t < inner; t++) {
      for (let u = 0; u < 3; u++) {
        for (let v = 0; v < 3; v++) {
          const [y, x] = [h + u - 2, w + v - 2];
          if (y < 0 || y >= size || x < 0 || x >= size) continue;
          value += at(next, [o, t, u, v]) * at(merged, [group * inner + t, i, y, x]);
        }
      }
    }
    return value;
  });
}
