// Taps: which pixels a convolution reads, and how two of them fit one grid.

import { describe, expect, it } from "@jest/globals";

import { type OpOf, type Padding, type Pair, windowExtent } from "../../src/graph/index.js";
import {
  commonTaps,
  gcd,
  geometryOf,
  placement,
  type Taps,
  tapsOf,
} from "../../src/reparam/geometry.js";

type Geometry = Omit<OpOf<"conv2d">, "kind">;

const conv = (options: Partial<Geometry> = {}): Geometry => ({
  stride: [1, 1],
  padding: [0, 0, 0, 0],
  dilation: [1, 1],
  groups: 1,
  ...options,
});

/** One axis of a convolution: `before` and `after` are its padding. */
function axis(count: number, before: number, after: number, dilation = 1): Taps {
  const padding: Padding = [before, after, 0, 0];
  return tapsOf(conv({ padding, dilation: [dilation, 1] }), [count, 1])[0];
}

/** The kernel of one letter a tap, written into the grid: `0abc0`. */
function picture(letters: string, inner: Taps, outer: Taps): string {
  const { offset, dilation } = placement(inner, outer);
  const cells = Array<string>(outer.count).fill("0");
  [...letters].forEach((letter, j) => {
    expect(cells[offset + dilation * j]).toBe("0");
    cells[offset + dilation * j] = letter;
  });
  return cells.join("");
}

describe("taps of a convolution", () => {
  it("start before the image by the padding", () => {
    expect(axis(3, 1, 1)).toEqual({ start: -1, step: 1, count: 3, slack: 0 });
    expect(axis(3, 0, 0)).toEqual({ start: 0, step: 1, count: 3, slack: -2 });
    expect(axis(1, 0, 0)).toEqual({ start: 0, step: 1, count: 1, slack: 0 });
    expect(axis(3, 2, 2, 2)).toEqual({ start: -2, step: 2, count: 3, slack: 0 });
    expect(axis(2, 1, 0)).toEqual({ start: -1, step: 1, count: 2, slack: 0 });
  });

  it("start inside the image where it is cropped", () => {
    expect(axis(1, -2, -1)).toEqual({ start: 2, step: 1, count: 1, slack: -3 });
  });

  it("differ by axis", () => {
    const op = conv({ padding: [1, 2, 3, 4], dilation: [2, 3] });
    expect(tapsOf(op, [3, 5])).toEqual([
      { start: -1, step: 2, count: 3, slack: -1 },
      { start: -3, step: 3, count: 5, slack: -5 },
    ]);
  });

  it("are never at -0", () => {
    expect(Object.is(axis(3, 0, 0).start, 0)).toBe(true);
    const { padding } = geometryOf([axis(3, 0, 2), axis(1, 0, 0)]);
    for (const side of padding) expect(Object.is(side, -0)).toBe(false);
  });
});

describe("the common grid", () => {
  const abc = axis(3, 1, 1);
  const d = axis(1, 0, 0);
  const efg = axis(3, 2, 2, 2);
  const five = axis(5, 2, 2);

  it.each([
    ["abc", abc, "0abc0"],
    ["d", d, "00d00"],
    ["efg", efg, "e0f0g"],
    ["abcde", five, "abcde"],
  ])("of five taps holds %s", (letters, taps, expected) => {
    const grid = commonTaps([abc, d, efg, five]);
    expect(grid).toEqual({ start: -2, step: 1, count: 5, slack: 0 });
    expect(picture(letters, taps, grid)).toBe(expected);
  });

  it.each<[name: string, taps: readonly Taps[], grid: Partial<Taps>, pictures: readonly string[]]>([
    ["keeps the step that all share", [efg, d], { start: -2, step: 2, count: 3 }, ["abc", "0a0"]],
    ["of one tap has step 1", [d, d], { start: 0, step: 1, count: 1 }, ["a", "a"]],
    [
      "of single taps steps from one to the other",
      [axis(1, 4, -4), axis(1, -2, 2)],
      { start: -4, step: 6, count: 2 },
      ["a0", "0a"],
    ],
    [
      "of steps 2 and 3 has step 1",
      [axis(2, 0, 0, 2), axis(2, 0, 0, 3)],
      { start: 0, step: 1, count: 4 },
      ["a0b0", "a00b"],
    ],
    [
      "of steps 4 and 6 has step 2",
      [axis(3, 4, 4, 4), axis(2, 0, 0, 6)],
      { start: -4, step: 2, count: 6 },
      ["a0b0c0", "00a00b"],
    ],
    [
      "of corners spans both",
      [axis(2, 1, 0), axis(2, 0, 1)],
      { start: -1, step: 1, count: 3 },
      ["ab0", "0ab"],
    ],
  ])("%s", (_name, taps, expected, pictures) => {
    const grid = commonTaps(taps);
    expect(grid).toMatchObject(expected);
    const letters = ({ count }: Taps) => "abc".slice(0, count);
    expect(taps.map((inner) => picture(letters(inner), inner, grid))).toEqual(pictures);
  });

  it("has the slack of the one that reaches furthest", () => {
    expect(commonTaps([axis(1, 0, 3), axis(3, 1, 2)]).slack).toBe(axis(3, 1, 2).slack);
  });
});

describe("the geometry of taps", () => {
  it("is that of the convolution they came from", () => {
    for (const count of [1, 2, 3, 5]) {
      for (const before of [-2, 0, 1, 3]) {
        for (const after of [-1, 0, 2]) {
          for (const dilation of count === 1 ? [1] : [1, 2, 3]) {
            const op = conv({ padding: [before, after, after, before], dilation: [dilation, 1] });
            const { kernel, ...rest } = geometryOf(tapsOf(op, [count, count]));
            expect(kernel).toEqual([count, count]);
            expect(rest).toEqual({ padding: op.padding, dilation: op.dilation });
          }
        }
      }
    }
  });
});

describe("a convolution on the common grid", () => {
  /** Pixels that each output reads, by tap of the kernel; those outside the image too. */
  function reads(size: number, taps: Taps, stride: number): number[][] {
    const { padding } = geometryOf([taps, axis(1, 0, 0)]);
    const [before, after] = padding;
    const window = { kernel: taps.count, stride, dilation: taps.step, before, after };
    const outputs = windowExtent(size, window);
    return Array.from({ length: outputs }, (_, i) =>
      Array.from({ length: taps.count }, (_unused, j) => i * stride - before + j * taps.step),
    );
  }

  const cases: [before: Taps, other: Taps][] = [];
  for (const dilation of [1, 2, 3]) {
    for (const padding of [
      [0, 0],
      [1, 2],
      [-1, 1],
      [3, -2],
    ] as readonly Pair[]) {
      cases.push([axis(3, ...padding, dilation), axis(2, 1, 1, 2)]);
      cases.push([axis(1, ...padding), axis(3, 1, 1, dilation)]);
      cases.push([axis(4, ...padding, dilation), axis(1, -1, 0)]);
    }
  }

  it.each(cases)("reads the same pixels: %j beside %j", (inner, other) => {
    const grid = commonTaps([inner, other]);
    const { offset, dilation } = placement(inner, grid);
    expect(Number.isInteger(offset) && offset >= 0).toBe(true);
    expect(Number.isInteger(dilation) && dilation >= 1).toBe(true);
    expect(offset + dilation * (inner.count - 1)).toBeLessThan(grid.count);
    for (const stride of [1, 2, 3]) {
      for (const size of [11, 12, 13]) {
        const small = reads(size, inner, stride);
        const large = reads(size, grid, stride);
        // Branches of one sum have outputs of one size; the grid has that of its furthest branch.
        const count = Math.min(small.length, large.length);
        expect(count).toBeGreaterThan(0);
        for (let i = 0; i < count; i++) {
          const chosen = small[i]!.map((_, j) => large[i]![offset + dilation * j]);
          expect(chosen).toEqual(small[i]);
        }
      }
    }
  });

  it("has as many outputs as the branches have", () => {
    // 8 pixels, stride 2: four outputs each, whatever the last window leaves over.
    const branches = [axis(1, 0, 0), axis(1, 0, -1), axis(3, 1, 1), axis(3, 1, 0), axis(5, 2, 2)];
    for (let one = 0; one < branches.length; one++) {
      for (const other of branches) {
        const taps = [branches[one]!, other];
        const counts = [...taps, commonTaps(taps)].map((each) => reads(8, each, 2).length);
        expect(counts).toEqual([4, 4, 4]);
      }
    }
  });
});

describe("the greatest common divisor", () => {
  it.each([
    [12, 18, 6],
    [7, 5, 1],
    [0, 4, 4],
    [4, 0, 4],
    [0, 0, 0],
    [-6, 4, 2],
  ])("of %i and %i is %i", (a, b, expected) => {
    expect(gcd(a, b)).toBe(expected);
  });
});
