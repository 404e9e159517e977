/** Einstein sums of one or two operands as what every backend does well: products, sums, transpositions. */
import type { Tensor } from "@tensorflow/tfjs-core";

import { RepkitError } from "../../errors.js";
import type { Tf } from "./backend.js";

/** Of `ti,othw->oihw`: the terms `ti`, `othw` and the result `oihw`. */
export interface EinsumTerms {
  readonly operands: readonly string[];
  readonly result: string;
}

export function einsumTerms(equation: string): EinsumTerms {
  const [left = "", result] = equation.split("->");
  if (result === undefined) throw new RepkitError("internal", `einsum ${equation}: no result`);
  return { operands: left.split(","), result };
}

export function einsum(
  tf: Tf,
  { operands, result }: EinsumTerms,
  values: readonly Tensor[],
): Tensor {
  const [termA = "", termB] = operands;
  const [a, b] = values as [Tensor, Tensor];
  if (termB === undefined) return permute(tf, ...sumOut(tf, a, termA, result), result);
  const [left, leftTerm] = sumOut(tf, a, termA, termB + result);
  const [right, rightTerm] = sumOut(tf, b, termB, termA + result);
  const pick = (term: string, test: (index: string) => boolean) => [...term].filter(test).join("");
  const inner = pick(leftTerm, (index) => rightTerm.includes(index) && !result.includes(index));
  if (inner === "")
    return tf.mul(spreadOver(tf, left, leftTerm, result), spreadOver(tf, right, rightTerm, result));
  const shared = pick(result, (index) => leftTerm.includes(index) && rightTerm.includes(index));
  const rows = pick(result, (index) => !rightTerm.includes(index));
  const columns = pick(result, (index) => !leftTerm.includes(index));
  const extents = new Map([...extentsOf(leftTerm, left), ...extentsOf(rightTerm, right)]);
  const shapeOf = (term: string) => [...term].map((index) => extents.get(index) ?? 1);
  const size = (term: string) => shapeOf(term).reduce((product, extent) => product * extent, 1);
  const [batch, m, k, n] = [size(shared), size(rows), size(inner), size(columns)] as const;
  const product = tf.matMul(
    tf.reshape(permute(tf, left, leftTerm, shared + rows + inner), [batch, m, k]),
    tf.reshape(permute(tf, right, rightTerm, shared + inner + columns), [batch, k, n]),
  );
  const term = shared + rows + columns;
  return permute(tf, tf.reshape(product, shapeOf(term)), term, result);
}

/** The gradient of operand `position`: another Einstein sum, repeated along what was summed over there alone. */
export function einsumGradient(
  tf: Tf,
  { operands, result }: EinsumTerms,
  { values, dy, position }: { values: readonly Tensor[]; dy: Tensor; position: number },
): Tensor {
  const term = operands[position]!;
  const other = operands[1 - position];
  const known = (index: string) => result.includes(index) || other?.includes(index) === true;
  const reached = [...term].filter(known).join("");
  const gradient =
    other === undefined
      ? einsum(tf, { operands: [result], result: reached }, [dy])
      : einsum(tf, { operands: [result, other], result: reached }, [dy, values[1 - position]!]);
  if (reached === term) return gradient;
  const { shape } = values[position]!;
  return tf.broadcastTo(spreadOver(tf, gradient, reached, term), shape);
}

/** Sums over the indices that `kept` does not name. */
function sumOut(tf: Tf, x: Tensor, term: string, kept: string): [Tensor, string] {
  const axes = [...term].flatMap((index, axis) => (kept.includes(index) ? [] : [axis]));
  if (axes.length === 0) return [x, term];
  return [tf.sum(x, axes), [...term].filter((index) => kept.includes(index)).join("")];
}

function permute(tf: Tf, x: Tensor, term: string, result: string): Tensor {
  if (term === result) return tf.clone(x);
  return tf.transpose(
    x,
    [...result].map((index) => term.indexOf(index)),
  );
}

/** With the axes of `result` in their order, of extent one where `term` lacks them: ready to broadcast. */
function spreadOver(tf: Tf, x: Tensor, term: string, result: string): Tensor {
  const own = [...result].filter((index) => term.includes(index)).join("");
  const ordered = permute(tf, x, term, own);
  const extents = extentsOf(own, ordered);
  return tf.reshape(
    ordered,
    [...result].map((index) => extents.get(index) ?? 1),
  );
}

function extentsOf(term: string, { shape }: Tensor): Map<string, number> {
  return new Map([...term].map((index, axis) => [index, shape[axis] ?? 1]));
}
