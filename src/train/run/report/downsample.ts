/** Long curves, drawn with as many points as can be told apart. */

export interface Point {
  readonly x: number;
  readonly y: number;
}

/**
 * At most `limit` of the points (4 at least), in their order: the first, the last, and of every stretch
 * between them the lowest and the highest, so that no spike is lost.
 */
export function downsample(points: readonly Point[], limit: number): readonly Point[] {
  const [first, last] = [points[0], points.at(-1)];
  if (points.length <= limit || first === undefined || last === undefined) return points;
  const stretches = Math.max(1, Math.floor((limit - 2) / 2));
  const inner = points.length - 2;
  const kept = [first];
  for (let stretch = 0; stretch < stretches; stretch++) {
    const begin = 1 + Math.floor((stretch * inner) / stretches);
    const end = 1 + Math.floor(((stretch + 1) * inner) / stretches);
    kept.push(...extremes(points, begin, end));
  }
  kept.push(last);
  return kept;
}

/** The lowest and the highest of a stretch that is not empty, whichever comes first. */
function extremes(points: readonly Point[], begin: number, end: number): Point[] {
  let [low, high] = [begin, begin];
  for (let index = begin; index < end; index++) {
    const { y } = points[index] as Point;
    if (y < (points[low] as Point).y) low = index;
    if (y > (points[high] as Point).y) high = index;
  }
  const indices = low === high ? [low] : [Math.min(low, high), Math.max(low, high)];
  return indices.map((index) => points[index] as Point);
}
