/** The shapes of the drawn data set: how much of a pixel is foreground. */

/**
 * Coverage in 0..1 of the pixel at (u, v), in units of the shape's radius from its centre. `pixel` is
 * the pixel's size in these units, over which edges are smoothed; `period` that of repeating shapes.
 */
export type Shape = (u: number, v: number, pixel: number, period: number) => number;

const { abs, atan2, cos, max, min, PI, sin, sqrt } = Math;

/** Several times as fast as Math.hypot, which guards against overflow. */
const hypot = (x: number, y: number) => sqrt(x * x + y * y);

/** From the signed distance to an edge, negative inside. */
function edge(distance: number, pixel: number): number {
  return max(0, min(1, 0.5 - distance / pixel));
}

/** Bands across x, half foreground. */
function bands(x: number, pixel: number, period: number): number {
  const phase = x / period - Math.floor(x / period);
  return edge((abs(phase - 0.5) - 0.25) * period, pixel);
}

const INNER = 0.42; // of a star: radius of the corners that point inwards
const TIP = PI / 5; // from a star's tip to the next inward corner

export const SHAPES = {
  circle: (u, v, pixel) => edge(hypot(u, v) - 1, pixel),
  square: (u, v, pixel) => edge(max(abs(u), abs(v)) - 0.85, pixel),
  triangle: (u, v, pixel) => edge(max(0.866 * abs(u) + 0.5 * v, -v) - 0.55, pixel),
  stripes: (u, _v, pixel, period) => bands(u, pixel, period),
  checkerboard: (u, v, pixel, period) => {
    const a = bands(u, pixel, 2 * period);
    const b = bands(v, pixel, 2 * period);
    return a + b - 2 * a * b;
  },
  rings: (u, v, pixel, period) => bands(hypot(u, v), pixel, period),
  cross: (u, v, pixel) => {
    const [a, b] = [abs(u), abs(v)];
    return edge(min(max(a - 1, b - 0.3), max(b - 1, a - 0.3)), pixel);
  },
  star: (u, v, pixel) => {
    // Folded onto half of one tip, whose edge runs from (1, 0) to the inward corner.
    const angle = abs((((atan2(v, u) % (2 * TIP)) + 3 * TIP) % (2 * TIP)) - TIP);
    const radius = hypot(u, v);
    const [x, y] = [radius * cos(angle), radius * sin(angle)];
    const [dx, dy] = [INNER * cos(TIP) - 1, INNER * sin(TIP)];
    return edge((dy * (x - 1) - dx * y) / hypot(dx, dy), pixel);
  },
  dots: (u, v, pixel, period) => {
    const x = u / period - Math.round(u / period);
    const y = v / period - Math.round(v / period);
    return edge((hypot(x, y) - 0.3) * period, pixel);
  },
  gradient: (u) => max(0, min(1, 0.5 + 0.4 * u)),
} as const satisfies Record<string, Shape>;

/** Degrees on the colour wheel. */
export const HUES = {
  red: 0,
  orange: 30,
  yellow: 56,
  lime: 88,
  green: 128,
  teal: 172,
  blue: 212,
  indigo: 246,
  violet: 280,
  pink: 328,
} as const;

/** A class of the data set. */
export interface SampleClass {
  readonly name: string;
  readonly shape: Shape;
  /** Undefined: any. */
  readonly hue: number | undefined;
}

const shapes = Object.entries(SHAPES);
const hues = Object.entries(HUES);

export const MAX_CLASSES = shapes.length * hues.length;

/** Up to ten classes differ by shape; more by shape and colour. */
export function sampleClasses(count: number): readonly SampleClass[] {
  const named = shapes.map(([name, shape]) => ({ name, shape, hue: undefined }));
  if (count <= named.length) return named.slice(0, count);
  return hues
    .flatMap(([colour, hue]) =>
      named.map(({ name, shape }) => ({ name: `${name}-${colour}`, shape, hue })),
    )
    .slice(0, count);
}
