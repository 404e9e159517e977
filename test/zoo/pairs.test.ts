// Every architecture with every block: what is listed builds, and what is not listed has a reason.

import { describe, expect, it } from "@jest/globals";

import { type BlockType, blockType, blockTypes, type Structure } from "../../src/blocks/index.js";
import {
  type Graph,
  GraphBuilder,
  parametersOf,
  structuralHash,
  verifyGraph,
} from "../../src/graph/index.js";
import {
  type Architecture,
  architectures,
  buildModel,
  MAX_CLASSES,
  MAX_IMAGE_SIZE,
  Network,
} from "../../src/zoo/index.js";
import { errorOf } from "../helpers/graphs.js";

const STRUCTURES: readonly Structure[] = ["train", "deploy"];

/** Builds a pair whether the architecture lists it or not. */
function buildAnyway(architecture: Architecture, type: BlockType, structure: Structure): Graph {
  const builder = new GraphBuilder();
  const scope = builder.root();
  const network = new Network(scope, { type, structure, numClasses: 1000 });
  return builder.build(architecture.build(network, scope.input([3, 64, 64])));
}

describe.each(architectures.map((found) => [found.name, found] as const))("%s", (name, found) => {
  it.each(found.blocks)("x %s builds and verifies, on 224 pixels and on 33", (block) => {
    for (const structure of STRUCTURES) {
      for (const imageSize of [224, 33]) {
        const { graph, layers } = buildModel({ arch: name, block, structure, imageSize });
        verifyGraph(graph);
        expect(graph.outputs[0]?.name).toBe("logits");
        if (structure === "train") continue;
        // Deployed, each layer is one convolution with a bias, and nothing normalises.
        const kinds = graph.nodes.map(({ op }) => op.kind);
        expect(kinds).not.toContain("batchNorm");
        const convolutions = graph.nodes.filter(({ op }) => op.kind === "conv2d");
        const squeezes = parametersOf(graph).filter(({ name }) =>
          /\.(down|up)\.weight$/.test(name),
        );
        expect(convolutions).toHaveLength(layers.length + squeezes.length);
        expect(convolutions.filter(({ inputs }) => inputs.length !== 3)).toEqual([]);
      }
    }
  });

  it("builds on images of one pixel and of the largest size, for the most classes", () => {
    for (const block of found.blocks) {
      for (const [imageSize, numClasses] of [
        [1, 1],
        [MAX_IMAGE_SIZE, MAX_CLASSES],
      ] as const) {
        buildModel({ arch: name, block, imageSize, numClasses });
      }
    }
  });

  it("has the same layers in both structures", () => {
    for (const block of found.blocks) {
      const layers = (structure: Structure) => buildModel({ arch: name, block, structure }).layers;
      expect(layers("deploy")).toEqual(layers("train"));
    }
  });
});

describe("pairs that are not listed", () => {
  const unlisted = architectures.flatMap((found) =>
    blockTypes
      .filter(({ name }) => !found.blocks.includes(name))
      .map((type) => [found.name, type.name, found, type] as const),
  );
  /** Left out though they would build, since each is another pair under a second name. */
  const ALIASES: Readonly<Record<string, string>> = { RepVGGplus: "RepVGG", RepVGG: "RepVGGplus" };

  it("are 23 aliases, one for each architecture, and 8 that do not build", () => {
    const aliases = unlisted.filter(([, block]) => block in ALIASES);
    expect(aliases.map(([arch]) => arch).sort()).toEqual(
      architectures.map(({ name }) => name).sort(),
    );
    expect(unlisted.filter(([, block]) => !(block in ALIASES)).map(([arch]) => arch)).toEqual([
      ...["ResNeXt-50", "MobileNet", "RepVGG-B1g2", "RepVGG-B1g4"],
      ...["RepVGG-B2g2", "RepVGG-B2g4", "RepVGG-B3g2", "RepVGG-B3g4"],
    ]);
  });

  it.each(unlisted)(
    "%s x %s is an alias, or its grouped convolutions refuse it",
    (_arch, block, found, type) => {
      const alias = ALIASES[block];
      if (alias === undefined) {
        const { kind, message } = errorOf(() => buildAnyway(found, type, "train"));
        expect(kind).toBe("usage");
        expect(message).toMatch(/^\S+: OREPA_VGG needs groups 1, found 3x3 .* groups \d+$/);
        return;
      }
      expect(found.blocks).toContain(alias);
      for (const structure of STRUCTURES) {
        expect(structuralHash(buildAnyway(found, type, structure))).toBe(
          structuralHash(buildAnyway(found, blockType(alias), structure)),
        );
      }
    },
  );
});
