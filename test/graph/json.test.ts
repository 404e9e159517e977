// Graphs as JSON: there and back unchanged, and nothing malformed gets in.

import { describe, expect, it } from "@jest/globals";

import {
  type Graph,
  graphFromJson,
  graphToJson,
  printGraph,
  structuralHash,
} from "../../src/graph/index.js";
import { buildModel } from "../../src/zoo/index.js";
import { everyOpGraph } from "../helpers/every-op.js";
import { errorOf, graphOf } from "../helpers/graphs.js";
import {
  isObject,
  type Json,
  type Place,
  places,
  replaced,
  without,
} from "../helpers/json-paths.js";

const graph = everyOpGraph();
const document = JSON.parse(graphToJson(graph)) as Json;
const all = places("graph", document);
const read = (value: unknown) => graphFromJson(JSON.stringify(value));

describe("there and back", () => {
  it.each<[string, Graph]>([
    ["every op", graph],
    ["ResNet-18 x DBB", buildModel({ arch: "ResNet-18", block: "DBB" }).graph],
    [
      "MobileNet x ACB, deployed",
      buildModel({ arch: "MobileNet", block: "ACB", structure: "deploy" }).graph,
    ],
    [
      "RepVGGplus-L2pse x OREPA_VGG",
      buildModel({ arch: "RepVGGplus-L2pse", block: "OREPA_VGG" }).graph,
    ],
  ])("%s", (_name, original) => {
    const copy = graphFromJson(graphToJson(original));
    expect(printGraph(copy)).toBe(printGraph(original));
    expect(structuralHash(copy)).toBe(structuralHash(original));
    expect(copy).toEqual(original);
  });

  it("writes no ids and no types: they follow from the rest", () => {
    const small = graphOf((scope) => scope.relu(scope.input([1, 2, 3])));
    expect(JSON.parse(graphToJson(small))).toEqual({
      format: "repkit-graph",
      version: 1,
      nodes: [
        { op: { kind: "input", shape: [1, 2, 3], mean: [0], std: [1] }, inputs: [], name: "input" },
        { op: { kind: "relu" }, inputs: [0], name: "relu" },
      ],
      outputs: [{ name: "y", value: 1 }],
    });
  });

  it("keeps names of any alphabet, quotes and line ends", () => {
    const name = 'α "quoted"\n\u2028\\';
    const odd = graphOf((scope) => ({ [name]: scope.relu(scope.input([1, 2, 3]), name) }));
    expect(graphFromJson(graphToJson(odd))).toEqual(odd);
  });
});

describe("a malformed field is a file error that names it", () => {
  it("has every field to check", () => {
    expect(all.length).toBeGreaterThan(400);
  });

  it("everywhere: an object that belongs nowhere", () => {
    for (const place of all) {
      const error = errorOf(() => read(replaced(document, place, { odd: 1 })));
      expect({ path: place.path, kind: error.kind }).toEqual({ path: place.path, kind: "file" });
      // An object where one belongs lacks its fields, and a group's kind is looked at first.
      expect(error.message.startsWith(place.path)).toBe(true);
    }
  });

  it.each<[string, Json]>([
    ["null", null],
    ["true", true],
    ["a fraction", 0.5],
    ["a string", "odd"],
    ["an array", [[]]],
  ])("everywhere: %s where it does not belong", (_name, value) => {
    for (const place of all) {
      if (fits(value, place)) continue;
      const error = errorOf(() => read(replaced(document, place, value)));
      expect({ path: place.path, kind: error.kind }).toEqual({ path: place.path, kind: "file" });
      expect(error.message.startsWith(place.path)).toBe(true);
    }
  });

  it("every missing field", () => {
    const optional = /^graph\.nodes\[\d+\]\.(foldName|rules)$/;
    const required = all.filter(
      ({ path, keys }) => typeof keys.at(-1) === "string" && !optional.test(path),
    );
    for (const place of required) {
      const { kind, message } = errorOf(() => read(without(document, place)));
      expect(kind).toBe("file");
      // Without its kind, an op or a fill is none that is known.
      const expected = place.path.endsWith(".kind")
        ? /: expected a known (op|fill), found nothing$/
        : /: expected a value, found nothing$/;
      expect(message.startsWith(place.path)).toBe(true);
      expect(message).toMatch(expected);
    }
  });

  it("every optional field may be missing", () => {
    const optional = all.filter(({ path }) => /\.(foldName|rules)$/.test(path));
    expect(optional).toHaveLength(2);
    for (const place of optional) {
      const copy = read(without(document, place));
      expect(structuralHash(copy)).toBe(structuralHash(graph));
    }
  });

  it("every field too many", () => {
    const objects = all.filter(({ value }) => isObject(value));
    for (const place of objects) {
      if (!isObject(place.value)) continue;
      for (const extra of ["extra", "__proto__", "constructor"]) {
        // JSON.parse makes a plain field of __proto__; an object literal would not.
        const text = JSON.stringify(replaced(document, place, { ...place.value, EXTRA: 1 }));
        const error = errorOf(() => graphFromJson(text.replace('"EXTRA"', `"${extra}"`)));
        expect(error).toEqual({
          kind: "file",
          message: `${place.path}.${extra}: expected no such field, found 1`,
        });
      }
    }
  });

  /** Whether a value of this kind may stand at the place. */
  function fits(value: Json, { path }: Place): boolean {
    // Names and the equation; all other strings are choices from a list.
    if (typeof value === "string") {
      return /\.(name|foldName|equation)$|\.rules\[\d+\]$/.test(path);
    }
    // Statistics, fills and batch norm's constants; all other numbers are whole.
    if (typeof value === "number") {
      return /\.(mean|std|values)\[\d+\]$|\.(eps|momentum|bound|a)$|op\..*\.value$/.test(path);
    }
    return typeof value === "boolean" && /\.(correlate|countIncludePad)$/.test(path);
  }
});
