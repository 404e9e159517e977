// What the native sums refuse, and how they are built and diagnosed.

import { join } from "node:path";

import { describe, expect, it, jest } from "@jest/globals";

import { LINALG_ADDON, linalgAddon } from "../../src/linalg/addon.js";
import { buildLinalgAddon, ensureLinalgAddon } from "../../src/linalg/build.js";
import { diagnoseLinalg } from "../../src/linalg/diagnosis.js";
import { describeLinalg } from "../helpers/linalg-addon.js";
import { temporaryFolder, withCompiler } from "../helpers/torch-trees.js";

jest.setTimeout(120_000); // compilers take their time on a busy machine

describeLinalg("the native sums", (addon) => {
  const of = (...values: number[]) => Float64Array.from(values);
  const ones = (count: number) => new Float64Array(count).fill(1);

  /** A product of 2 rows, 3 columns and 4 numbers in each, with one argument changed. */
  function multiply(position: number, value: unknown): Float64Array {
    const out = new Float64Array(6);
    const args: unknown[] = [
      ...[out, of(0, 3), 1],
      ...[ones(8), of(0, 4), 1],
      ...[ones(12), of(0, 4, 8), 1],
      ...[4, undefined],
    ];
    args[position] = value;
    addon.multiplyAdd(...(args as Parameters<typeof addon.multiplyAdd>));
    return out;
  }

  it("multiplies what fits", () => {
    expect(multiply(9, 4)).toEqual(ones(6).fill(4));
    expect(multiply(9, 0)).toEqual(new Float64Array(6)); // nothing to sum
  });

  it.each([
    [1, of(0, 4), "out: line 1 leaves its array"],
    [1, of(0, 3, 3), "out starts: one for each row"],
    [2, 4, "out: line 0 leaves its array"],
    [2, -1, "out: line 0 leaves its array"],
    [4, of(0, 5), "rows: line 1 leaves its array"],
    [4, of(-1, 4), "rows: line 0 leaves its array"],
    [4, of(NaN, 4), "rows: line 0 leaves its array"],
    [4, of(0, 0.5), "rows: line 1 leaves its array"],
    [5, 2 ** 52, "rows: line 0 leaves its array"],
    [5, 0.5, "row step: expected an integer"],
    [6, ones(11), "columns: line 2 leaves its array"],
    [8, -1, "columns: line 0 leaves its array"],
    [9, 5, "rows: line 1 leaves its array"],
    [9, Infinity, "inner: expected an integer"],
    [10, ones(1), "factors: one for each row"],
  ])("refuses argument %i: %p", (position, value, message) => {
    expect(() => multiply(position, value)).toThrow(
      expect.objectContaining({ name: "RangeError", message }),
    );
  });

  it.each([
    [0, new Float32Array(6), "out: expected a Float64Array"],
    [1, [0, 3], "out starts: expected an array"],
    [3, new Int32Array(8), "rows: expected a Float32Array or a Float64Array"],
    [6, undefined, "columns: expected an array"],
  ])("refuses argument %i of another type: %p", (position, value, message) => {
    expect(() => multiply(position, value)).toThrow(
      expect.objectContaining({ name: "TypeError", message }),
    );
  });

  it("refuses sums of different sizes", () => {
    expect(() => addon.addScaled(ones(6), ones(5), undefined)).toThrow("data: as many numbers");
    expect(() => addon.addScaled(ones(6), ones(6), ones(4))).toThrow("factors: one for each row");
    expect(() => addon.addScaled(ones(6), ones(6), ones(0))).toThrow("factors: one for each row");
    expect(() => addon.round(ones(6), new Float32Array(5))).toThrow("out: as many numbers");
    expect(() => addon.round(ones(1), ones(1) as unknown as Float32Array)).toThrow(
      "out: expected a Float32Array",
    );
    addon.addScaled(ones(0), ones(0), ones(0));
    expect(() => addon.addOuter(ones(6), ones(4), ones(3), ones(2))).toThrow("weights and taps");
    expect(() => addon.addOuter(ones(6), ones(4), ones(4), ones(2))).toThrow("target: a number");
    expect(() => addon.addOuter(ones(0), ones(1), ones(0), ones(0))).toThrow("weights and taps");
    addon.addOuter(ones(0), ones(0), ones(0), ones(0));
    expect(() => addon.roundScaled(ones(6), ones(2), new Float32Array(5))).toThrow("out: as many");
    expect(() => addon.roundScaled(ones(6), ones(4), new Float32Array(6))).toThrow("factors: one");
    expect(() => addon.roundScaled(ones(6), ones(0), new Float32Array(6))).toThrow("factors: one");
    addon.roundScaled(ones(0), ones(0), new Float32Array(0));
  });

  it("refuses a number of threads that is none", () => {
    for (const count of [0, -1, 0.5, NaN]) {
      expect(() => addon.setThreads(count)).toThrow(/^threads: /);
    }
  });

  it("knows the instructions of this CPU, and no others", () => {
    const { usable } = addon.describe();
    expect(usable.at(-1)).toBe("default");
    expect(() => addon.use("quantum")).toThrow('this CPU has no "quantum"');
    for (const instructions of usable.toReversed()) {
      addon.use(instructions);
      expect(addon.describe().instructions).toBe(instructions);
    }
  });
});

const folder = temporaryFolder();

describe("without a build", () => {
  const env = { REPKIT_CACHE: join(folder, "empty"), PATH: process.env["PATH"] };

  it("there is no addon, and doctor says how to get one", () => {
    expect(linalgAddon(env)).toBeUndefined();
    expect(diagnoseLinalg(env)).toMatchObject({
      ...{ name: "linalg", ok: false },
      problems: [{ fix: expect.stringMatching(/repkit build linalg$/) as unknown }],
    });
  });

  it("REPKIT_LINALG=portable does without", () => {
    const turnedOff = { ...process.env, REPKIT_LINALG: "portable" };
    expect(linalgAddon(turnedOff)).toBeUndefined();
    expect(diagnoseLinalg(turnedOff).problems).toEqual([
      { problem: 'REPKIT_LINALG is "portable"', fix: "unset REPKIT_LINALG" },
    ]);
  });
});

withCompiler("the linalg addon", () => {
  it("is built once, from nothing but its sources and Node's headers", async () => {
    const env = { ...process.env, REPKIT_CACHE: join(folder, "cache") };
    const built = await buildLinalgAddon({ env });
    expect(built).toMatchObject({ isNew: true });
    expect(await buildLinalgAddon({ env })).toMatchObject({ isNew: false, path: built.path });
    expect((await ensureLinalgAddon({ env })).path).toBe(built.path);
    const { usable, instructions } = linalgAddon(env, LINALG_ADDON)!.describe();
    expect(instructions).toBe(usable[0]);
    expect(diagnoseLinalg(env)).toEqual({
      ...{ name: "linalg", ok: true, instructions, path: built.path, problems: [] },
    });
  });
});
