/** Einstein summation as weight expressions need it: one or two operands, no repeated index in a term. */

export interface Einsum {
  /** The indices of each operand, then of the result. */
  readonly operands: readonly string[];
  readonly result: string;
}

const FORM = /^([a-z]*)(?:,([a-z]*))?->([a-z]*)$/;

/** Parses `oi,hw->oihw`; undefined where the equation is not of that form. */
export function parseEinsum(equation: string): Einsum | undefined {
  const match = FORM.exec(equation);
  if (match === null) return undefined;
  const [, first = "", second, result = ""] = match;
  const operands = second === undefined ? [first] : [first, second];
  const known = new Set(operands.join(""));
  const plain = [...operands, result].every((term) => new Set(term).size === term.length);
  return plain && [...result].every((index) => known.has(index)) ? { operands, result } : undefined;
}

/**
 * The extent of every index, or undefined with the guilty index where two operands disagree or a
 * term does not fit its operand's rank.
 */
export function einsumExtents(
  einsum: Einsum,
  shapes: readonly (readonly number[])[],
): { extents: ReadonlyMap<string, number> } | { conflict: string } {
  const extents = new Map<string, number>();
  for (const [position, term] of einsum.operands.entries()) {
    const shape = shapes[position] ?? [];
    if (shape.length !== term.length) return { conflict: `"${term}" for rank ${shape.length}` };
    for (const [axis, index] of [...term].entries()) {
      const extent = shape[axis] ?? 0;
      const known = extents.get(index);
      if (known !== undefined && known !== extent) {
        return { conflict: `index ${index} of extent ${known} and ${extent}` };
      }
      extents.set(index, extent);
    }
  }
  return { extents };
}
