// Computed tensors against the sum, l2 norm and first values that the reference files record.

import type { Tensor } from "../../src/graph/index.js";
import type { TensorStats } from "./fixtures.js";

const { abs, sqrt } = Math;

/**
 * The largest of the differences of sum, l2 and first four values: relative to l2*sqrt(n), which no
 * sum exceeds, to l2, and to the largest element.
 */
export function statsDifference({ data }: Tensor, expected: TensorStats): number {
  const n = data.length;
  let [sum, squares, largest] = [0, 0, 0];
  for (let i = 0; i < n; i++) {
    const value = Number(data[i]);
    sum += value;
    squares += value * value;
    const size = value < 0 ? -value : value;
    if (size > largest) largest = size;
  }
  const { l2 } = expected;
  const differences = [
    abs(sum - expected.sum) / (l2 * sqrt(n)),
    abs(sqrt(squares) - l2) / l2,
    ...expected.first4.map((value, i) => abs(Number(data[i]) - value) / largest),
  ];
  // A NaN is no difference to be proud of.
  return differences.reduce((worst, each) => (each <= worst ? worst : each), 0);
}
