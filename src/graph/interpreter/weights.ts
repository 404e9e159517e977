/** Weight expressions. Kernels are O,I,H,W with I per group. */
import { RepkitError } from "../../errors.js";
import { lines, multiplyAdd } from "../../linalg/index.js";
import { einsumExtents, parseEinsum } from "../einsum.js";
import { elementCount, type Float64Tensor, type FloatTensor, toFloat64 } from "../tensor.js";
import type { OpOf } from "../types.js";
import { extents4 } from "./convolution.js";

/** w[o,...] * s[o] */
export function scale(w: Float64Tensor, s: Float64Tensor): Float64Tensor {
  const row = w.data.length / s.data.length;
  const data = new Float64Array(w.data.length);
  for (let o = 0, i = 0; o < s.data.length; o++) {
    const factor = s.data[o]!;
    for (const end = i + row; i < end; i++) data[i] = w.data[i]! * factor;
  }
  return { shape: w.shape, data };
}

export function select(w: Float64Tensor, index: number): Float64Tensor {
  const shape = w.shape.slice(1);
  const length = elementCount(shape);
  return { shape, data: w.data.slice(index * length, (index + 1) * length) };
}

/** Sums the product of the operands over every index that the result does not name. */
export function einsum(equation: string, operands: readonly FloatTensor[]): Float64Tensor {
  const parsed = parseEinsum(equation);
  const shapes = operands.map(({ shape }) => shape);
  const found = parsed && einsumExtents(parsed, shapes);
  if (parsed === undefined || found === undefined || "conflict" in found) {
    throw new RepkitError("internal", `einsum ${equation} does not fit its operands`);
  }
  const { extents } = found;
  const [termA = "", termB] = parsed.operands;
  const [a, b] = operands as [FloatTensor, FloatTensor];
  return termB === undefined
    ? toFloat64(sumTo(a, termA, parsed.result, extents))
    : product({ a, termA, b, termB }, parsed.result, extents);
}

interface Factors {
  readonly a: FloatTensor;
  readonly termA: string;
  readonly b: FloatTensor;
  readonly termB: string;
}

/** A matrix product for each value of the indices that all three terms share. */
function product({ a, termA, b, termB }: Factors, result: string, extents: Extents): Float64Tensor {
  const only = (term: string, test: (index: string) => boolean) => [...term].filter(test).join("");
  const inA = (index: string) => termA.includes(index);
  const inB = (index: string) => termB.includes(index);
  const shared = only(result, (index) => inA(index) && inB(index));
  const rowTerm = only(result, (index) => !inB(index));
  const columnTerm = only(result, (index) => !inA(index));
  // The larger factor is best left as it lies in memory: an index that it alone sums over is one of
  // the inner ones, along which the smaller is repeated. The smaller sums over its own beforehand.
  const larger = a.data.length >= b.data.length ? termA : termB;
  const innerTerm = only(larger, (index) => !result.includes(index));
  const left = sumTo(a, termA, shared + rowTerm + innerTerm, extents);
  const right = sumTo(b, termB, shared + innerTerm + columnTerm, extents);
  const [rows, columns, inner] = [rowTerm, columnTerm, innerTerm].map((t) =>
    sizeOf(t, extents),
  ) as [number, number, number];
  const term = shared + rowTerm + columnTerm;
  const data = new Float64Array(sizeOf(term, extents));
  for (let index = 0; index < sizeOf(shared, extents); index++) {
    multiplyAdd(
      lines(data, { offset: index * rows * columns, distance: columns, step: 1 }),
      lines(left.data, { offset: index * rows * inner, distance: inner, step: 1 }),
      lines(right.data, { offset: index * inner * columns, distance: 1, step: columns }),
      { rows, columns, inner },
    );
  }
  return toFloat64(sumTo({ shape: shapeOf(term, extents), data }, term, result, extents));
}

type Extents = ReadonlyMap<string, number>;

/**
 * Reorders the axes of a tensor, sums over those that `result` does not name, and repeats it along
 * those that `term` does not.
 */
function sumTo(x: FloatTensor, term: string, result: string, extents: Extents): FloatTensor {
  const shape = shapeOf(result, extents);
  if (term === result) return { shape, data: x.data } as FloatTensor;
  const summed = [...term].filter((index) => !result.includes(index));
  const loops = [...result, ...summed].map((index) => ({
    extent: extents.get(index) ?? 1,
    to: strideOf(result, index, extents),
    from: strideOf(term, index, extents),
  }));
  const data = new Float64Array(sizeOf(result, extents));
  const visit = (depth: number, to: number, from: number): void => {
    const loop = loops[depth];
    if (loop === undefined) {
      data[to]! += x.data[from]!;
    } else if (depth === loops.length - 1) {
      for (let k = 0; k < loop.extent; k++, to += loop.to, from += loop.from) {
        data[to]! += x.data[from]!;
      }
    } else {
      for (let k = 0; k < loop.extent; k++)
        visit(depth + 1, to + k * loop.to, from + k * loop.from);
    }
  };
  visit(0, 0, 0);
  return { shape, data };
}

function shapeOf(term: string, extents: Extents): readonly number[] {
  return [...term].map((index) => extents.get(index) ?? 1);
}

function sizeOf(term: string, extents: Extents): number {
  return elementCount(shapeOf(term, extents));
}

/** Distance between neighbours along `index` in a row-major tensor with the axes of `term`; 0 if absent. */
function strideOf(term: string, index: string, extents: Extents): number {
  const axis = term.indexOf(index);
  return axis < 0 ? 0 : sizeOf(term.slice(axis + 1), extents);
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
  const [, perGroup, firstH, firstW] = extents4(first);
  const [out, innerPerGroup, secondH, secondW] = extents4(second);
  const kernelH = firstH + secondH - 1;
  const kernelW = firstW + secondW - 1;
  const rows = out / op.groups;
  const firstArea = firstH * firstW;
  const secondArea = secondH * secondW;
  const area = kernelH * kernelW;
  const data = new Float64Array(out * perGroup * area);
  // One matrix product, Σ_t second[o,t] first[t,i], for each group and pair of taps.
  for (let group = 0; group < op.groups; group++) {
    for (let v = 0; v < secondArea; v++) {
      const [vh, vw] = [Math.floor(v / secondW), v % secondW];
      const shiftH = op.correlate ? secondH - 1 - vh : vh;
      const shiftW = op.correlate ? secondW - 1 - vw : vw;
      for (let u = 0; u < firstArea; u++) {
        const position = (Math.floor(u / firstW) + shiftH) * kernelW + (u % firstW) + shiftW;
        multiplyAdd(
          lines(data, {
            offset: group * rows * perGroup * area + position,
            distance: perGroup * area,
            step: area,
          }),
          lines(second.data, {
            offset: group * rows * innerPerGroup * secondArea + v,
            distance: innerPerGroup * secondArea,
            step: secondArea,
          }),
          lines(first.data, {
            offset: group * innerPerGroup * perGroup * firstArea + u,
            distance: firstArea,
            step: perGroup * firstArea,
          }),
          { rows, columns: perGroup, inner: innerPerGroup },
        );
      }
    }
  }
  return { shape: [out, perGroup, kernelH, kernelW], data };
}
