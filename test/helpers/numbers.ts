// Numbers to compute with: reproducible, of all signs, and never special.

import { type Float64Tensor, elementCount } from "../../src/graph/index.js";
import { fillUniform } from "./fill.js";

/** Values in ±1 that depend on the name alone. */
export function numbers(name: string, shape: readonly number[]): Float64Tensor {
  const u = fillUniform(name);
  const data = Float64Array.from({ length: elementCount(shape) }, (_, i) => 2 * u(i) - 1);
  return { shape, data };
}

/** The element of a row-major tensor at the given place. */
export function at({ shape, data }: Float64Tensor, place: readonly number[]): number {
  const flat = place.reduce((sum, index, axis) => sum * (shape[axis] ?? 1) + index, 0);
  return data[flat] ?? NaN;
}

/** A tensor from its elements' formula: `build([2,3], ([i,j]) => ...)`. */
export function build(shape: readonly number[], value: (place: number[]) => number): Float64Tensor {
  const data = new Float64Array(elementCount(shape));
  for (let flat = 0; flat < data.length; flat++) {
    const place: number[] = [];
    let rest = flat;
    for (const extent of [...shape].reverse()) {
      place.unshift(rest % extent);
      rest = Math.floor(rest / extent);
    }
    data[flat] = value(place);
  }
  return { shape, data };
}
