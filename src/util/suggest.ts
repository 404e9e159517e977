/** Did-you-mean for names typed by people. */

/**
 * The candidate nearest to `word` by edit distance (case-insensitive, a swap of neighbours counts
 * once, a whole ending less than two edits: RepVGG, RepVGGplus), or undefined where nothing is near
 * enough to be meant.
 */
export function suggest(word: string, candidates: Iterable<string>): string | undefined {
  let best: string | undefined;
  let bestDistance = Infinity;
  for (const candidate of candidates) {
    const distance = distanceOf(normalise(word), normalise(candidate));
    if (distance < bestDistance) {
      best = candidate;
      bestDistance = distance;
    }
  }
  if (best === undefined) return undefined;
  return bestDistance <= Math.max(2, Math.ceil(best.length * 0.4)) ? best : undefined;
}

/** `unknown <what> "x"; did you mean "y"?` or, without a near name, the list of valid ones. */
export function unknownName(what: string, word: string, candidates: readonly string[]): string {
  return `unknown ${what} "${word}"; ${nearestOf(word, candidates)}`;
}

/** `did you mean "y"?` or, without a near name, `choose from y, z`. */
export function nearestOf(word: string, candidates: readonly string[]): string {
  const near = suggest(word, candidates);
  return near === undefined ? `choose from ${candidates.join(", ")}` : `did you mean "${near}"?`;
}

function normalise(word: string): string {
  return word.toLowerCase().replace(/[-_\s]/g, "");
}

function distanceOf(a: string, b: string): number {
  const isEnding = Math.min(a.length, b.length) >= 3 && (a.startsWith(b) || b.startsWith(a));
  return isEnding ? Math.min(editDistance(a, b), 1.5) : editDistance(a, b);
}

/** Optimal string alignment distance. */
function editDistance(a: string, b: string): number {
  let beforePrevious: number[] = [];
  let previous = Array.from({ length: b.length + 1 }, (_, j) => j);
  for (let i = 1; i <= a.length; i++) {
    const current = [i];
    for (let j = 1; j <= b.length; j++) {
      const same = a[i - 1] === b[j - 1];
      let cost = Math.min(
        at(previous, j) + 1,
        at(current, j - 1) + 1,
        at(previous, j - 1) + (same ? 0 : 1),
      );
      if (i > 1 && j > 1 && a[i - 1] === b[j - 2] && a[i - 2] === b[j - 1]) {
        cost = Math.min(cost, at(beforePrevious, j - 2) + 1);
      }
      current.push(cost);
    }
    beforePrevious = previous;
    previous = current;
  }
  return at(previous, b.length);
}

function at(row: readonly number[], index: number): number {
  return row[index] ?? Infinity;
}
