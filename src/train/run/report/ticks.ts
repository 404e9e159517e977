/** Axes: round numbers that cover what there is to show. */

export interface Axis {
  readonly low: number;
  readonly high: number;
  /** From low to high; the ends are ticks where they are round numbers. */
  readonly ticks: readonly number[];
}

/** An axis from `low` to `high` exactly, with up to about `count` ticks at multiples of 1, 2 or 5. */
export function exactAxis(low: number, high: number, count: number): Axis {
  const [from, to] = low < high ? [low, high] : widened(low);
  const step = roundStep((to - from) / count);
  const first = Math.ceil(from / step - 1e-9);
  const last = Math.floor(to / step + 1e-9);
  const ticks = Array.from({ length: last - first + 1 }, (_, index) =>
    tidy((first + index) * step),
  );
  return { low: from, high: to, ticks };
}

/** An axis that is widened to end at ticks. */
export function roundAxis(low: number, high: number, count: number): Axis {
  const [from, to] = low < high ? [low, high] : widened(low);
  const step = roundStep((to - from) / count);
  const first = Math.floor(from / step + 1e-9);
  const last = Math.ceil(to / step - 1e-9);
  return exactAxis(tidy(first * step), tidy(last * step), last - first);
}

/** A number for people: four significant digits. */
export function formatNumber(value: number): string {
  const size = Math.abs(value);
  if (value === 0) return "0";
  if (size >= 1e-3 && size < 1e6) return String(Number(value.toPrecision(4)));
  return value.toExponential(3).replace(/\.?0*e\+?/, "e");
}

/** A constant is shown in the middle, with some room; zero at the bottom. */
function widened(value: number): [number, number] {
  const room = Math.abs(value) / 2;
  return value === 0 ? [0, 1] : [value - room, value + room];
}

/** The first of ..., 0.1, 0.2, 0.5, 1, 2, 5, 10, ... that is not smaller. */
function roundStep(raw: number): number {
  const power = 10 ** Math.floor(Math.log10(raw));
  const factor = [1, 2, 5, 10].find((candidate) => candidate * power >= raw * (1 - 1e-9)) ?? 10;
  return factor * power;
}

/** 0.30000000000000004 → 0.3 */
function tidy(value: number): number {
  return Number(value.toPrecision(12));
}
