/** Weight expressions. Kernels are O,I,H,W with I per group. */
import { RepkitError } from "../../errors.js";
import { einsumExtents, parseEinsum } from "../einsum.js";
import { elementCount, type Float64Tensor } from "../tensor.js";
import type { OpOf } from "../types.js";
import { extents4 } from "./convolution.js";

/** w[o,...] * s[o] */
export function scale(w: Float64Tensor, s: Float64Tensor): Float64Tensor {
  const row = w.data.length / s.data.length;
  return { shape: w.shape, data: w.data.map((value, i) => value * s.data[Math.floor(i / row)]!) };
}

export function select(w: Float64Tensor, index: number): Float64Tensor {
  const shape = w.shape.slice(1);
  const length = elementCount(shape);
  return { shape, data: w.data.slice(index * length, (index + 1) * length) };
}

/** Sums the product of the operands over every index that the result does not name. */
export function einsum(equation: string, operands: readonly Float64Tensor[]): Float64Tensor {
  const parsed = parseEinsum(equation);
  const found =
    parsed &&
    einsumExtents(
      parsed,
      operands.map(({ shape }) => shape),
    );
  if (parsed === undefined || found === undefined || "conflict" in found) {
    throw new RepkitError("internal", `einsum ${equation} does not fit its operands`);
  }
  const { extents } = found;
  const summed = [...extents.keys()].filter((index) => !parsed.result.includes(index));
  const loops = [...parsed.result, ...summed].map((index) => ({
    extent: extents.get(index) ?? 1,
    strides: [parsed.result, ...parsed.operands].map((term) => strideOf(term, index, extents)),
  }));
  const shape = [...parsed.result].map((index) => extents.get(index) ?? 1);
  const data = new Float64Array(elementCount(shape));
  const [a, b] = operands;
  const visit = (depth: number, target: number, inA: number, inB: number): void => {
    const loop = loops[depth];
    if (loop === undefined) {
      data[target]! += a!.data[inA]! * (b === undefined ? 1 : b.data[inB]!);
      return;
    }
    const [toTarget = 0, toA = 0, toB = 0] = loop.strides;
    for (let k = 0; k < loop.extent; k++) {
      visit(depth + 1, target + k * toTarget, inA + k * toA, inB + k * toB);
    }
  };
  visit(0, 0, 0, 0);
  return { shape, data };
}

/** Distance between neighbours along `index` in a row-major tensor with the axes of `term`; 0 if absent. */
function strideOf(term: string, index: string, extents: ReadonlyMap<string, number>): number {
  const axis = term.indexOf(index);
  if (axis < 0) return 0;
  return elementCount([...term.slice(axis + 1)].map((other) => extents.get(other) ?? 1));
}

/** Places a kernel inside a larger one, and spreads a grouped one over fewer groups. */
export function embed(w: Float64Tensor, op: OpOf<"embed">): Float64Tensor {
  const [out, perGroup, height, width] = extents4(w);
  const [kernelH, kernelW] = op.kernel;
  const [offsetH, offsetW] = op.offset;
  const [dilationH, dilationW] = op.dilation;
  const { from, to } = op.groups;
  const merged = from / to;
  const inputs = perGroup * merged;
  const data = new Float64Array(out * inputs * kernelH * kernelW);
  for (let o = 0; o < out; o++) {
    const group = Math.floor(o / (out / from));
    const firstInput = (group % merged) * perGroup;
    for (let i = 0; i < perGroup; i++) {
      for (let h = 0; h < height; h++) {
        for (let x = 0; x < width; x++) {
          const row = (o * inputs + firstInput + i) * kernelH + offsetH + h * dilationH;
          data[row * kernelW + offsetW + x * dilationW] =
            w.data[((o * perGroup + i) * height + h) * width + x]!;
        }
      }
    }
  }
  return { shape: [out, inputs, kernelH, kernelW], data };
}

/**
 * The kernel of `second` after `first`: K[o,i,p] = Σ_t Σ_{u+v=p} second[o,t,v] * first[t,i,u]; with
 * `correlate`, p = u - v + (extent of second - 1), which turns `second` by 180 degrees.
 */
export function composeKernels(
  first: Float64Tensor,
  second: Float64Tensor,
  op: OpOf<"composeKernels">,
): Float64Tensor {
  const [inner, perGroup, firstH, firstW] = extents4(first);
  const [out, innerPerGroup, secondH, secondW] = extents4(second);
  const kernelH = firstH + secondH - 1;
  const kernelW = firstW + secondW - 1;
  const outPerGroup = out / op.groups;
  const data = new Float64Array(out * perGroup * kernelH * kernelW);
  for (let o = 0; o < out; o++) {
    const firstInner = Math.floor(o / outPerGroup) * (inner / op.groups);
    for (let t = 0; t < innerPerGroup; t++) {
      for (let vh = 0; vh < secondH; vh++) {
        for (let vw = 0; vw < secondW; vw++) {
          const w = second.data[((o * innerPerGroup + t) * secondH + vh) * secondW + vw]!;
          if (w === 0) continue;
          const shiftH = op.correlate ? secondH - 1 - vh : vh;
          const shiftW = op.correlate ? secondW - 1 - vw : vw;
          for (let i = 0; i < perGroup; i++) {
            for (let uh = 0; uh < firstH; uh++) {
              const from = (((firstInner + t) * perGroup + i) * firstH + uh) * firstW;
              const to = ((o * perGroup + i) * kernelH + uh + shiftH) * kernelW + shiftW;
              for (let uw = 0; uw < firstW; uw++) data[to + uw]! += w * first.data[from + uw]!;
            }
          }
        }
      }
    }
  }
  return { shape: [out, perGroup, kernelH, kernelW], data };
}
