// Initial values: what the reference's initialisers draw, and reproducibly.

import { describe, expect, it } from "@jest/globals";

import { batchNorm, conv, linear } from "../../src/blocks/index.js";
import {
  constantTensor,
  elementCount,
  type Graph,
  initialState,
  initialTensor,
  parameterCount,
  type ParamOp,
  parametersOf,
} from "../../src/graph/index.js";
import { blockNames, readBlock, readJson } from "../helpers/fixtures.js";
import { graphOf, weight } from "../helpers/graphs.js";
import { blockGraph, referenceBlock } from "../helpers/reference-blocks.js";
import { param } from "../helpers/types.js";

interface Observed {
  shape: number[];
  init: "kaiming_uniform" | "uniform" | "zeros" | "constant" | "constant_rows" | "identity";
  bound?: number;
  value?: number;
  rows?: (number | null)[];
}

const { blocks } = readJson("init.json") as {
  blocks: Record<
    string,
    {
      class: string;
      arguments: Record<string, number | string | boolean>;
      params: Record<string, Observed>;
    }
  >;
};

/** The graph of what init.json describes: a block, or one of PyTorch's own layers. */
function graphFor(name: string): Graph {
  const { class: type, arguments: given } = blocks[name]!;
  const number = (key: string) => given[key] as number;
  switch (type) {
    case "Conv2d":
      return graphOf((scope) =>
        conv(scope, "", scope.input([number("in_channels"), 8, 8]), {
          out: number("out_channels"),
          kernel: number("kernel_size"),
          groups: number("groups"),
          bias: true,
        }),
      );
    case "Linear": {
      const [features, out] = [number("in_features"), number("out_features")];
      return graphOf((scope) =>
        linear(scope, "", scope.flatten(scope.input([features, 1, 1])), out),
      );
    }
    case "BatchNorm2d":
      return graphOf((scope) => batchNorm(scope, "", scope.input([number("num_features"), 8, 8])));
    default:
      return blockGraph(referenceBlock(blocks[name]!), "train");
  }
}

/** Values of one parameter from as many seeds as it takes to have at least `count`. */
function sample(op: ParamOp, count: number): Float64Array {
  const seeds = Math.ceil(count / elementCount(op.shape));
  const values = Array.from({ length: seeds }, (_, seed) => [
    ...(initialTensor(op, seed).data as Float32Array),
  ]);
  return Float64Array.from(values.flat());
}

/** In standard errors: a right initialiser exceeds five once in a million samples. */
const ERRORS = 5;

/** A uniform distribution in ±bound has mean 0, variance bound²/3 and kurtosis 9/5. */
function expectUniform(values: Float64Array, bound: number): void {
  const n = values.length;
  const mean = values.reduce((sum, value) => sum + value, 0) / n;
  const variance = values.reduce((sum, value) => sum + value ** 2, 0) / n;
  const largest = values.reduce((most, value) => Math.max(most, Math.abs(value)), 0);
  expect(largest).toBeLessThanOrEqual(Math.fround(bound));
  expect(largest).toBeGreaterThan(bound * (1 - 20 / n));
  expect(Math.abs(mean)).toBeLessThan((ERRORS * bound) / Math.sqrt(3 * n));
  const relative = Math.sqrt((9 / 5 - 1) / n);
  expect(Math.abs(variance / (bound ** 2 / 3) - 1)).toBeLessThan(ERRORS * relative);
}

describe("initialisers of the reference", () => {
  it("has all 56 blocks and layers", () => {
    expect(Object.keys(blocks)).toHaveLength(56);
  });

  it.each(Object.keys(blocks))("%s", (name) => {
    const declared = new Map(
      parametersOf(graphFor(name))
        .filter(({ role }) => role === "param")
        .map((op) => [op.name.replace(/^\./, ""), op]),
    );
    const observed = Object.entries(blocks[name]!.params);
    expect([...declared.keys()].sort()).toEqual(observed.map(([key]) => key).sort());
    for (const [key, { shape, init, bound = NaN, value = NaN, rows = [] }] of observed) {
      const op = declared.get(key)!;
      expect(op.shape).toEqual(shape);
      const first = initialTensor(op, 0);
      const perRow = elementCount(shape.slice(1));
      const all = (value: number) => new Float32Array(elementCount(shape)).fill(value);
      switch (init) {
        case "kaiming_uniform":
        case "uniform":
          expectUniform(sample(op, 4000), bound);
          break;
        case "zeros":
          expect(first.data).toEqual(all(0));
          break;
        case "constant":
          expect(first.data).toEqual(all(value));
          break;
        case "constant_rows":
          rows.forEach((expected, row) => {
            // A row that the reference leaves uninitialised is ours to choose, if finite.
            const found = [...first.data.slice(row * perRow, (row + 1) * perRow)];
            expect(found.every((entry) => Number.isFinite(entry))).toBe(true);
            if (expected !== null) expect(new Set(found)).toEqual(new Set([expected]));
          });
          expect(rows).toHaveLength(shape[0]!);
          break;
        case "identity": {
          const [out = 0, inputs = 0] = shape;
          expect(shape).toEqual([out, inputs, 1, 1]);
          expect(first.data).toEqual(
            Float32Array.from({ length: out * inputs }, (_, i) =>
              Math.floor(i / inputs) === i % inputs ? 1 : 0,
            ),
          );
          break;
        }
      }
    }
  });
});

describe("buffers of the reference that are constants", () => {
  const constants = /(^|\.)(id_tensor|weight_\w+_avg_avg|weight_\w+_prior)$/;
  const withConstants = blockNames().filter((name) => /OREPA/.test(name) && !/1x1|Base/.test(name));

  it.each(withConstants)("%s", (name) => {
    const reference = readBlock(name);
    const found = parametersOf(blockGraph(referenceBlock(reference), "train")).filter(({ name }) =>
      constants.test(name),
    );
    expect(found.length).toBeGreaterThanOrEqual(3);
    for (const op of found) {
      expect(initialTensor(op, 1)).toBeCloseToTensor(reference.tensors.get(`state.${op.name}`)!);
    }
  });

  it("there are nine such blocks", () => {
    expect(withConstants).toHaveLength(9);
  });
});

describe("fills, by hand", () => {
  const zeros = (count: number) => Array<number>(count).fill(0);

  it("constant and rows", () => {
    const data = (...values: number[]) => Float64Array.from(values);
    expect(constantTensor([2, 2], { kind: "constant", value: 1 / 9 }).data).toEqual(
      data(1 / 9, 1 / 9, 1 / 9, 1 / 9),
    );
    expect(constantTensor([3, 2], { kind: "rows", values: [1, 0.5, -2] }).data).toEqual(
      data(1, 1, 0.5, 0.5, -2, -2),
    );
    expect(constantTensor([], { kind: "constant", value: 3 }).data).toEqual(data(3));
  });

  it("identity of a grouped 3x3 kernel: the centre of channel o mod I", () => {
    const [none, centre] = [zeros(9), [0, 0, 0, 0, 1, 0, 0, 0, 0]];
    expect([...constantTensor([4, 2, 3, 3], { kind: "identity" }).data]).toEqual(
      [centre, none, none, centre, centre, none, none, centre].flat(),
    );
  });

  it("frequency prior [3,2,2]: rows for i < 3/2, columns for the rest", () => {
    const wave = (place: number, frequency: number) => Math.cos((Math.PI * place * frequency) / 2);
    const values = [
      ...[wave(0.5, 1), wave(0.5, 1), wave(1.5, 1), wave(1.5, 1)],
      ...[wave(0.5, 2), wave(0.5, 2), wave(1.5, 2), wave(1.5, 2)],
      ...[wave(0.5, 1.5), wave(1.5, 1.5), wave(0.5, 1.5), wave(1.5, 1.5)],
    ];
    expect(constantTensor([3, 2, 2], { kind: "frequencyPrior" })).toBeCloseToTensor(
      { shape: [3, 2, 2], data: Float64Array.from(values) },
      { absolute: 1e-15 },
    );
  });

  it("a counter starts at the integer 0", () => {
    expect(initialTensor(param({ shape: [], dtype: "i64", role: "buffer" }), 5)).toEqual({
      shape: [],
      data: BigInt64Array.of(0n),
    });
  });
});

describe("seeds", () => {
  const uniform = (name: string, shape: readonly number[] = [100]) =>
    param({ name, shape, init: { kind: "uniform", bound: 1 } });

  it("the same seed gives the same values, another seed others", () => {
    expect(initialTensor(uniform("w"), 7)).toEqual(initialTensor(uniform("w"), 7));
    const [seven, eight] = [7, 8].map((seed) => initialTensor(uniform("w"), seed).data);
    expect([...seven!].filter((value, i) => value === eight![i])).toEqual([]);
  });

  it("a value depends on its own name and place alone", () => {
    const [w, v] = ["w", "v"].map((name) => initialTensor(uniform(name), 7).data);
    expect([...w!].filter((value, i) => value === v![i])).toEqual([]);
    const longer = initialTensor(uniform("w", [300]), 7).data;
    expect(longer.slice(0, 100)).toEqual(w);

    const state = (names: readonly string[]) =>
      initialState(
        graphOf((scope) => {
          for (const name of names) {
            scope.param(name, [50], { init: { kind: "uniform", bound: 1 }, decay: "none" });
          }
          return weight(scope, "last", [1]);
        }),
        7,
      );
    expect(state(["w"]).get("w")).toEqual(state(["a", "w", "b"]).get("w"));
  });

  it.each([0, 1, 2 ** 31, 2 ** 32 - 1])(
    "streams of different names with seed %i are unrelated",
    (seed) => {
      const n = 20_000;
      const [a, b] = ["layer1.weight", "layer2.weight"].map(
        (name) => initialTensor(uniform(name, [n]), seed).data as Float32Array,
      );
      const products = a!.reduce((sum, value, i) => sum + value * b![i]!, 0) / n;
      // Independent uniform numbers in ±1: the mean product has standard error 1/(3 sqrt(n)).
      expect(Math.abs(products)).toBeLessThan(ERRORS / (3 * Math.sqrt(n)));
    },
  );
});

describe("counting", () => {
  it("parameters count, buffers and counters do not", () => {
    const graph = graphOf((scope) => {
      weight(scope, "a", [2, 3]);
      scope.buffer("b", [100], { kind: "constant", value: 0 });
      scope.counter("c");
      return weight(scope, "d", []);
    });
    expect(parameterCount(graph)).toBe(7);
    expect([...initialState(graph, 0).keys()]).toEqual(["a", "b", "c", "d"]);
  });
});
