// Whatever happens to the JSON of a graph, reading it gives a graph that verifies, or a file error.

import { describe, expect, it } from "@jest/globals";
import fc from "fast-check";

import { RepkitError } from "../../src/errors.js";
import {
  type Graph,
  graphFromJson,
  graphToJson,
  printGraph,
  structuralHash,
  verifyGraph,
} from "../../src/graph/index.js";
import { everyOpGraph } from "../helpers/every-op.js";
import { errorOf } from "../helpers/graphs.js";
import { type Json, places, replaced, without } from "../helpers/json-paths.js";

const text = graphToJson(everyOpGraph());
const document = JSON.parse(text) as Json;
const all = places("graph", document);
const SEED = 20240607;

/** Reads, and checks that what comes out is sound; undefined where the text is refused as a file. */
function readOrRefuse(mutated: string): Graph | undefined {
  let graph: Graph;
  try {
    graph = graphFromJson(mutated);
  } catch (error) {
    if (error instanceof RepkitError && error.kind === "file" && error.message !== "") return;
    throw error;
  }
  verifyGraph(graph);
  const again = graphFromJson(graphToJson(graph));
  expect(printGraph(again)).toBe(printGraph(graph));
  expect(structuralHash(again)).toBe(structuralHash(graph));
  return graph;
}

/** Numbers, strings and containers that a hostile or careless writer would put in a file. */
const oddValue: fc.Arbitrary<Json> = fc.oneof(
  fc.constantFrom<Json>(
    ...[null, true, false, 0, -0, 1, -1, 2, 3, 4, 6, 12, 0.5, 1e-300, 1e300],
    ...[2 ** 31, 2 ** 40, 2 ** 53, -(2 ** 53), 2 ** 60],
    ...["", "param", "conv2d", "__proto__", "constructor", "toString", "\u0000", "\ud800", "->"],
    ...[[], {}, [0], [1, 1], [1, 1, 1, 1], [-1, -1, -1, -1]],
  ),
  fc.integer({ min: -3, max: 50 }),
  fc.string({ maxLength: 5 }),
  fc.constantFrom(...all).map(({ value }) => value),
);

const step = fc.record({
  action: fc.constantFrom("replace" as const, "remove" as const, "copy" as const),
  at: fc.nat(),
  from: fc.nat(),
  value: oddValue,
});

describe("graphFromJson on mutated documents", () => {
  it("fields replaced, removed and copied over one another: a sound graph or a file error", () => {
    let accepted = 0;
    fc.assert(
      fc.property(fc.array(step, { minLength: 1, maxLength: 3 }), (steps) => {
        let mutated = document;
        for (const { action, at, from, value } of steps) {
          const here = places("graph", mutated);
          const place = here[at % here.length]!;
          if (action === "remove") mutated = without(mutated, place);
          else {
            const source = action === "copy" ? here[from % here.length]!.value : value;
            mutated = replaced(mutated, place, source);
          }
        }
        if (readOrRefuse(JSON.stringify(mutated)) !== undefined) accepted++;
      }),
      { seed: SEED, numRuns: 500 },
    );
    // Neither all nor none: the mutations reach beyond the first check.
    expect(accepted).toBeGreaterThan(5);
    expect(accepted).toBeLessThan(400);
  });

  it("one leaf replaced by each odd number: a sound graph or a file error", () => {
    const leaves = all.filter(({ value }) => typeof value === "number");
    for (const place of leaves) {
      for (const value of [-1, 0, 2, 0.5, 2 ** 31, 2 ** 53]) {
        readOrRefuse(JSON.stringify(replaced(document, place, value)));
      }
      // JSON has no infinity, but a number too large for float64 is read as one.
      const huge = JSON.stringify(replaced(document, place, "HUGE")).replace('"HUGE"', "1e999");
      expect(readOrRefuse(huge)).toBeUndefined();
    }
  });
});

describe("graphFromJson on damaged text", () => {
  it("cut anywhere: a file error", () => {
    for (let length = 0; length < text.length; length += 37) {
      expect(errorOf(() => graphFromJson(text.slice(0, length)))).toEqual({
        kind: "file",
        message: "graph: not JSON",
      });
    }
  });

  it("characters changed, doubled and dropped: a sound graph or a file error", () => {
    const edit = fc.record({
      at: fc.nat(text.length - 1),
      length: fc.nat(3),
      insert: fc.oneof(
        fc.string({ maxLength: 2 }),
        fc.constantFrom(..."0123456789-.e[]{},:\"'n".split("")),
      ),
    });
    fc.assert(
      fc.property(fc.array(edit, { minLength: 1, maxLength: 3 }), (edits) => {
        let mutated = text;
        for (const { at, length, insert } of edits) {
          mutated = mutated.slice(0, at) + insert + mutated.slice(at + length);
        }
        readOrRefuse(mutated);
      }),
      { seed: SEED, numRuns: 500 },
    );
  });

  it.each([
    ["no text", ""],
    ["a string", '"repkit-graph"'],
    ["null", "null"],
    ["a list", "[]"],
    ["not UTF-8, as a reader would show it", "\ufffd\ufffd"],
    ["a list that nests 100000 deep", "[".repeat(1e5) + "]".repeat(1e5)],
    [
      "a node that nests 100000 deep",
      `{"format":"repkit-graph","version":1,"nodes":[${"[".repeat(1e5)}${"]".repeat(1e5)}],"outputs":[]}`,
    ],
    [
      "a name that is an object 100000 deep",
      `{"format":"repkit-graph","version":1,"nodes":[{"op":{"kind":"relu"},"inputs":[],"name":${'{"a":'.repeat(1e5)}1${"}".repeat(1e5)}}],"outputs":[]}`,
    ],
    ["another format", text.replace("repkit-graph", "repkit-graff")],
    ["another version", text.replace('"version":1', '"version":2')],
  ])("%s: a file error of one short line", (_name, damaged) => {
    const { kind, message } = errorOf(() => graphFromJson(damaged));
    expect(kind).toBe("file");
    expect(message).toMatch(/^graph[^\n]{1,200}$/);
  });

  it("two million values in a field of two are refused at once", () => {
    const many = JSON.stringify(Array<number>(2e6).fill(1));
    const damaged = text.replace('"stride":[1,2]', `"stride":${many}`);
    const path = /^graph\.nodes\[\d+\]\.op\.stride: expected 2 numbers, found an array of 2000000$/;
    expect(errorOf(() => graphFromJson(damaged)).message).toMatch(path);
  });
});
