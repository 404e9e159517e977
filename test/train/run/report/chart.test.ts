// The parts of a report: escaped text, axes, curves with all their extremes.

import { describe, expect, it } from "@jest/globals";

import { lineChart, type Curve } from "../../../../src/train/run/report/chart.js";
import { downsample, type Point } from "../../../../src/train/run/report/downsample.js";
import { escapeHtml, htmlTable } from "../../../../src/train/run/report/html.js";
import { exactAxis, formatNumber, roundAxis } from "../../../../src/train/run/report/ticks.js";

const points = (count: number, y: (x: number) => number): Point[] =>
  Array.from({ length: count }, (_, x) => ({ x, y: y(x) }));

describe("downsample", () => {
  it("leaves curves alone that are short enough", () => {
    const short = points(100, (x) => x);
    expect(downsample(short, 100)).toBe(short);
    expect(downsample([], 10)).toEqual([]);
  });

  it("keeps the ends, every spike and the order, in no more than the points allowed", () => {
    const spikes = new Map([
      [0, -3],
      [4711, 99],
      [5000, -98],
      [99_998, 97],
      [99_999, 5],
    ]);
    const long = points(100_000, (x) => spikes.get(x) ?? Math.sin(x));
    const kept = downsample(long, 1000);
    expect(kept.length).toBeLessThanOrEqual(1000);
    expect(kept.length).toBeGreaterThan(900);
    for (const [x, y] of spikes) expect(kept).toContainEqual({ x, y });
    const order = kept.map(({ x }) => x);
    expect(order).toEqual([...new Set(order)].sort((a, b) => a - b));
    expect(kept.every((point) => point === long[point.x])).toBe(true);
  });

  it.each([4, 5, 6, 7, 10])("keeps to a limit of %i", (limit) => {
    const kept = downsample(
      points(50, (x) => (x * 37) % 50),
      limit,
    );
    expect(kept.length).toBeLessThanOrEqual(limit);
    expect([kept[0]?.x, kept.at(-1)?.x]).toEqual([0, 49]);
  });
});

describe("axes", () => {
  it.each([
    [0, 8, 8, [0, 1, 2, 3, 4, 5, 6, 7, 8]],
    [0, 1, 5, [0, 0.2, 0.4, 0.6, 0.8, 1]],
    [0, 120, 8, [0, 20, 40, 60, 80, 100, 120]],
    [0, 0.35, 8, [0, 0.05, 0.1, 0.15, 0.2, 0.25, 0.3, 0.35]],
    [0, 0.002, 5, [0, 0.0005, 0.001, 0.0015, 0.002]],
  ])("has round ticks from %d to %d", (low, high, count, ticks) => {
    expect(exactAxis(low, high, count)).toEqual({ low, high, ticks });
  });

  it.each([
    [0.73, 2.41, 0.5, 2.5],
    [12.4, 98.7, 0, 100],
    [-3.2, 7.9, -5, 10],
    [0, 847, 0, 1000],
    [1e-7, 9e-7, 0, 1e-6],
    [2.5, 2.5, 1, 4],
    [0, 0, 0, 1],
    [-2, -2, -3, -1],
  ])("is widened to ticks where it may be: %d to %d", (low, high, from, to) => {
    const axis = roundAxis(low, high, 5);
    expect([axis.low, axis.high]).toEqual([from, to]);
    expect([axis.ticks[0], axis.ticks.at(-1)]).toEqual([from, to]);
    expect(axis.ticks.length).toBeGreaterThanOrEqual(3);
    expect(axis.ticks.length).toBeLessThanOrEqual(8);
  });

  it.each([
    [0, "0"],
    [0.1 + 0.2, "0.3"],
    [71.23456, "71.23"],
    [1250, "1250"],
    [0.001, "0.001"],
    [0.00005, "5e-5"],
    [-0.00012345, "-1.234e-4"],
    [2.5e9, "2.5e9"],
    [1e10, "1e10"],
  ])("writes %d as %s", (value, text) => {
    expect(formatNumber(value)).toBe(text);
  });
});

describe("lineChart", () => {
  const chart = (...curves: Curve[]) =>
    lineChart({ title: "Loss", xLabel: "epochs", yLabel: "loss", curves });

  it("places a curve in the plot, with dots that tell their values", () => {
    const svg = chart({
      name: "train",
      points: [
        { x: 0, y: 2 },
        { x: 1, y: 1 },
        { x: 2, y: 0 },
      ],
    });
    expect(svg).toContain('<polyline class="curve c0" points="64,34 345,145 626,256"/>');
    expect(svg).toContain(
      '<circle class="dot c0" cx="345" cy="145" r="2.5"><title>train: 1 at 1 epochs</title></circle>',
    );
    expect(svg.match(/class="dot/g)).toHaveLength(3);
    expect(svg).toMatch(/<text class="tick y"[^>]*>1.5<\/text>/);
  });

  it("draws one point, none, and what is not a number", () => {
    expect(chart({ name: "a", points: [{ x: 1, y: 3 }] })).toContain(
      "<title>a: 3 at 1 epochs</title>",
    );
    expect(chart({ name: "a", points: [] })).toContain("no values yet");
    const some = [
      { x: 1, y: 3 },
      { x: 2, y: NaN },
      { x: 3, y: Infinity },
    ];
    const svg = chart({ name: "a", points: some }, { name: "b", points: [] });
    expect(svg.match(/<circle/g)).toHaveLength(1);
    expect(svg).not.toMatch(/NaN|Infinity|undefined/);
  });

  it("has names for several curves only", () => {
    const one = { name: "train", points: [{ x: 1, y: 3 }] };
    expect(chart(one)).not.toContain('class="legend"');
    const svg = chart(one, { ...one, name: "validation" });
    expect(svg.match(/class="legend"/g)).toHaveLength(2);
  });

  it("draws a long curve with few points and places to point at, the last among them", () => {
    const svg = chart({ name: "a", points: points(5000, (x) => (x === 777 ? 500 : x % 7)) });
    const line = /points="([^"]*)"/.exec(svg)?.[1]?.split(" ") ?? [];
    expect(line.length).toBeGreaterThan(500);
    expect(line.length).toBeLessThanOrEqual(1000);
    expect(line.filter((point) => point.endsWith(",34"))).toHaveLength(1); // the spike, at the top
    expect(svg).not.toContain('class="dot');
    expect(svg.match(/class="spot"/g)?.length).toBeLessThanOrEqual(120);
    expect(svg).toContain("<title>a: 1 at 4999 epochs</title>");
  });

  it("escapes its texts", () => {
    const svg = lineChart({
      ...{ title: '<"T">', xLabel: "<x>", yLabel: "<y>" },
      curves: ["<a>", "<b>"].map((name) => ({ name, points: [{ x: 1, y: 1 }] })),
    });
    expect(svg).not.toMatch(/<[Txyab]>|<"/);
    expect(svg).toContain('aria-label="&lt;&quot;T&quot;&gt;"');
  });
});

describe("HTML", () => {
  it("escapes what means something", () => {
    expect(escapeHtml(`<a href="x">'&amp;'</a>`)).toBe(
      "&lt;a href=&quot;x&quot;&gt;&#39;&amp;amp;&#39;&lt;/a&gt;",
    );
  });

  it("makes tables of text", () => {
    expect(htmlTable([{ title: "<n>" }, { title: "v", isNumber: true }], [["a&b", "1"]])).toBe(
      '<table>\n<thead><tr><th>&lt;n&gt;</th><th class="number">v</th></tr></thead>\n' +
        '<tbody>\n<tr><td>a&amp;b</td><td class="number">1</td></tr>\n</tbody>\n</table>',
    );
  });
});
