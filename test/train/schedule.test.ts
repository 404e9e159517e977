import { describe, expect, it } from "@jest/globals";

import type { ScheduleConfig, WarmupConfig } from "../../src/train/config.js";
import { learningRate, type WarmupForm } from "../../src/train/schedule.js";
import { readJson } from "../helpers/fixtures.js";

interface Case {
  kind: "cosine" | "warmup_cosine";
  total: number;
  warmup: number;
  base: number;
  steps: number[];
  lr: number[];
  lr_closed_form?: number[];
}

const { cases } = readJson("schedule.json") as { cases: Case[] };

const COSINE = { kind: "cosine" } as const;
const iterations = (form: WarmupForm, length: number): WarmupConfig => ({
  form,
  unit: "iterations",
  length,
});

describe("the references' schedules", () => {
  it.each(cases)("$kind over $total, warm-up $warmup, base $base", (row) => {
    const warmup = row.kind === "warmup_cosine" ? iterations("orepa", row.warmup) : null;
    const run = { epochs: 1, stepsPerEpoch: row.total };
    const rate = learningRate(row.base, { decline: COSINE, warmup }, run);
    const rates = row.steps.map(rate);
    rates.forEach((value, index) => {
      // torch's recursion of the same formula carries rounding of its own.
      const closed = row.lr_closed_form?.[index] ?? row.lr[index]!;
      expect(Math.abs(value - closed)).toBeLessThanOrEqual(1e-16 + 1e-14 * Math.abs(closed));
      expect(Math.abs(value - row.lr[index]!)).toBeLessThanOrEqual(1e-12 * row.base);
    });
  });
});

describe("learningRate", () => {
  const run = { epochs: 10, stepsPerEpoch: 4 };
  const rates = (schedule: ScheduleConfig) =>
    Array.from({ length: 40 }, (_, t) => learningRate(0.8, schedule, run)(t));

  it("warms up without a step at rate 0 and then spans the rest", () => {
    const warmup = { form: "linear", unit: "epochs", length: 1 } as const;
    const all = rates({ decline: COSINE, warmup });
    expect(all.slice(0, 4)).toEqual([0.2, 0.4, 0.6000000000000001, 0.8]);
    expect(all[4]).toBe(0.8);
    expect(all[22]).toBeCloseTo(0.4, 15); // half of 4 .. 40
    expect(all[39]).toBeGreaterThan(0);
  });

  it("timm's form counts the cosine from the start", () => {
    const all = rates({ decline: COSINE, warmup: iterations("timm", 4) });
    expect(all.slice(0, 3)).toEqual([0, 0.2, 0.4]);
    expect(all[4]).toBeCloseTo((0.8 * (1 + Math.cos(Math.PI / 10))) / 2, 15);
    expect(all[20]).toBeCloseTo(0.4, 15);
  });

  it("never exceeds the base in a fractional warm-up", () => {
    const all = rates({ decline: { kind: "constant" }, warmup: iterations("linear", 2.5) });
    expect(all[1]).toBeCloseTo(0.64, 15);
    expect(all.slice(2, 4)).toEqual([0.8, 0.8]);
  });

  it("takes a step after each so many epochs", () => {
    const all = rates({ decline: { kind: "step", epochs: 3, factor: 0.5 }, warmup: null });
    expect([all[11], all[12], all[23], all[24], all[36]]).toEqual([0.8, 0.4, 0.4, 0.2, 0.1]);
  });

  it("stays where it is", () => {
    expect(new Set(rates({ decline: { kind: "constant" }, warmup: null }))).toEqual(new Set([0.8]));
  });
});
