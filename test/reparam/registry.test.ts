// Folding the training structure of every architecture and block gives the deployed structure.

import { describe, expect, it } from "@jest/globals";

import { printGraph, structuralHash, verifyGraph } from "../../src/graph/index.js";
import { foldGraph, materialise } from "../../src/reparam/index.js";
import { architectures, buildModel } from "../../src/zoo/index.js";

const pairs = architectures.flatMap(({ name, blocks }) => blocks.map((block) => [name, block]));

describe("folding the registry", () => {
  it.each(pairs)("%s x %s", (arch, block) => {
    const { graph } = buildModel({ arch: arch, block: block, structure: "train" });
    const deployed = buildModel({ arch: arch, block: block, structure: "deploy" }).graph;
    const folded = foldGraph(graph, { outputs: ["logits"] });
    verifyGraph(folded.graph);
    const { graph: result } = materialise(graph, folded.graph, folded.groups);
    verifyGraph(result);
    if (structuralHash(result) !== structuralHash(deployed)) {
      // The texts show what differs; names of nodes do not count.
      const lines = (text: string) => text.replace(/ {2}# .*$/gm, "");
      expect(lines(printGraph(result))).toBe(lines(printGraph(deployed)));
    }
    expect(structuralHash(result)).toBe(structuralHash(deployed));
  });
});
