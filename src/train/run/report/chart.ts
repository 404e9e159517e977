/**
 * Line charts as SVG: axes, a legend, and curves whose values show when the pointer rests on them.
 * Colours are the classes of style.ts; coordinates are pixels of a picture WIDTH x HEIGHT.
 */
import { downsample, type Point } from "./downsample.js";
import { escapeHtml } from "./html.js";
import { exactAxis, formatNumber, roundAxis, type Axis } from "./ticks.js";

export interface Curve {
  readonly name: string;
  /** By rising x. Those that are not finite are left out. */
  readonly points: readonly Point[];
  /** Drawn thin, behind the others: many values that scatter. */
  readonly isBackground?: boolean;
}

export interface Chart {
  readonly title: string;
  readonly xLabel: string;
  readonly yLabel: string;
  readonly curves: readonly Curve[];
  /** The vertical axis includes zero. */
  readonly fromZero?: boolean;
}

const WIDTH = 640;
const HEIGHT = 300;
const PLOT = { left: 64, right: WIDTH - 14, top: 34, bottom: HEIGHT - 44 } as const;
const MAX_POINTS = 1000; // of a curve
const MAX_DOTS = 60; // up to so many points are drawn as dots as well
const MAX_TITLES = 120; // of a longer curve: so many points tell their values

/** The chart of one to three curves. */
export function lineChart(chart: Chart): string {
  const curves = chart.curves.map((curve) => ({
    ...curve,
    points: downsample(
      curve.points.filter(({ x, y }) => Number.isFinite(x) && Number.isFinite(y)),
      MAX_POINTS,
    ),
  }));
  const all = curves.flatMap(({ points }) => points);
  const body =
    all.length === 0
      ? `<text class="note" x="${WIDTH / 2}" y="${HEIGHT / 2}">no values yet</text>`
      : plot(chart, curves, all);
  return (
    `<svg viewBox="0 0 ${WIDTH} ${HEIGHT}" role="img" aria-label="${escapeHtml(chart.title)}">\n` +
    `<text class="title" x="${PLOT.left}" y="18">${escapeHtml(chart.title)}</text>\n${body}\n</svg>`
  );
}

interface Scales {
  readonly x: (value: number) => string;
  readonly y: (value: number) => string;
}

function plot(chart: Chart, curves: readonly Curve[], all: readonly Point[]): string {
  const xAxis = exactAxis(0, Math.max(...all.map(({ x }) => x)), 8);
  const values = all.map(({ y }) => y);
  const zero = chart.fromZero === true ? [0] : [];
  const yAxis = roundAxis(Math.min(...values, ...zero), Math.max(...values, ...zero), 5);
  const scales: Scales = {
    x: scale(xAxis, PLOT.left, PLOT.right),
    y: scale(yAxis, PLOT.bottom, PLOT.top),
  };
  // What is in front is drawn last.
  const order = curves.map((curve, index) => ({ curve, index }));
  order.sort(
    (a, b) => Number(b.curve.isBackground ?? false) - Number(a.curve.isBackground ?? false),
  );
  return [
    ...axes(chart, xAxis, yAxis, scales),
    ...(curves.length > 1 ? legend(curves) : []),
    ...order.map(({ curve, index }) => curveLine(curve, index, scales)),
    ...order.flatMap(({ curve, index }) => curveDots(chart, curve, index, scales)),
  ].join("\n");
}

function axes(chart: Chart, xAxis: Axis, yAxis: Axis, { x, y }: Scales): string[] {
  const { left, right, top, bottom } = PLOT;
  const middle = (top + bottom) / 2;
  return [
    ...yAxis.ticks.map(
      (tick) =>
        `<line class="grid" x1="${left}" x2="${right}" y1="${y(tick)}" y2="${y(tick)}"/>` +
        `<text class="tick y" x="${left - 7}" y="${y(tick)}" dy="4">${formatNumber(tick)}</text>`,
    ),
    ...xAxis.ticks.map(
      (tick) =>
        `<line class="axis" x1="${x(tick)}" x2="${x(tick)}" y1="${bottom}" y2="${bottom + 4}"/>` +
        `<text class="tick" x="${x(tick)}" y="${bottom + 17}">${formatNumber(tick)}</text>`,
    ),
    `<line class="axis" x1="${left}" x2="${right}" y1="${bottom}" y2="${bottom}"/>`,
    `<text class="label" x="${(left + right) / 2}" y="${HEIGHT - 8}">${escapeHtml(chart.xLabel)}</text>`,
    `<text class="label" transform="translate(14 ${middle}) rotate(-90)">${escapeHtml(chart.yLabel)}</text>`,
  ];
}

/** From the right end of the title's line to the left. */
function legend(curves: readonly Curve[]): string[] {
  const letter = 6.4; // width, roughly
  let right: number = PLOT.right;
  return curves
    .map(({ name }, index) => ({ name, index }))
    .reverse()
    .map(({ name, index }) => {
      const text = right - name.length * letter;
      right = text - 36;
      return (
        `<line class="curve c${index}" x1="${fixed(text - 22)}" x2="${fixed(text - 5)}" y1="14" y2="14"/>` +
        `<text class="legend" x="${fixed(text)}" y="18">${escapeHtml(name)}</text>`
      );
    });
}

function curveLine({ points, isBackground }: Curve, index: number, { x, y }: Scales): string {
  const style = isBackground === true ? "curve thin" : "curve";
  const line = points.map((point) => `${x(point.x)},${y(point.y)}`).join(" ");
  return `<polyline class="${style} c${index}" points="${line}"/>`;
}

/** Dots where there is room; of a long curve, places that can be pointed at. */
function curveDots(
  { xLabel }: Chart,
  { name, points }: Curve,
  index: number,
  { x, y }: Scales,
): string[] {
  const isShort = points.length <= MAX_DOTS;
  const stride = isShort ? 1 : Math.ceil(points.length / MAX_TITLES);
  const [style, radius] = isShort ? [`dot c${index}`, 2.5] : ["spot", 5];
  return points
    .filter((_, position) => (points.length - 1 - position) % stride === 0)
    .map((point) => {
      const title = `${name}: ${formatNumber(point.y)} at ${formatNumber(point.x)} ${xLabel}`;
      return (
        `<circle class="${style}" cx="${x(point.x)}" cy="${y(point.y)}" r="${radius}">` +
        `<title>${escapeHtml(title)}</title></circle>`
      );
    });
}

function scale({ low, high }: Axis, from: number, to: number): (value: number) => string {
  return (value) => fixed(from + ((value - low) / (high - low)) * (to - from));
}

function fixed(pixels: number): string {
  return String(Math.round(pixels * 10) / 10);
}
