// The repkit block for a class of the reference and its constructor's arguments.

import {
  acbBlock,
  type Block,
  buildBlock,
  type ConvSpec,
  convBnBlock,
  convSpec,
  dbbBlock,
  orepa1x1Block,
  orepaBlock,
  orepaLargeBaseBlock,
  orepaLargeBlock,
  orepaVggBlock,
  repVggBlock,
  type Structure,
  type Surroundings,
} from "../../src/blocks/index.js";
import { type Graph, GraphBuilder, type Value } from "../../src/graph/index.js";
import type { BlockReference } from "./fixtures.js";

export interface ReferenceBlock {
  block: Block;
  inChannels: number;
  spec: ConvSpec;
  surroundings: Surroundings;
}

/** Interprets what a fixture records about itself. */
export function referenceBlock(
  reference: Pick<BlockReference, "class" | "arguments">,
): ReferenceBlock {
  const options = reference.arguments;
  const number = (name: string) => options[name] as number | undefined;
  const out = number("out_channels") ?? 0;
  const isRepVgg = reference.class.startsWith("RepVGG");
  return {
    block: blockOf(reference.class, number("internal_channels_1x1_3x3")),
    inChannels: number("in_channels") ?? 0,
    spec: convSpec({
      out,
      kernel: number("kernel_size") ?? 1,
      stride: number("stride") ?? 1,
      dilation: number("dilation") ?? 1,
      groups: number("groups") ?? 1,
      padding: number("padding") ?? 0,
    }),
    surroundings: {
      activation: isRepVgg || options["nonlinear"] === "ReLU" ? "relu" : "none",
      squeeze:
        options["use_se"] === true
          ? { position: "before", inner: out / 16 }
          : options["use_post_se"] === true
            ? { position: "after", inner: out / 4 }
            : undefined,
    },
  };
}

function blockOf(name: string, innerChannels: number | undefined): Block {
  switch (name) {
    case "ConvBN":
      return convBnBlock;
    case "ACBlock":
      return acbBlock();
    case "DiverseBranchBlock":
      return dbbBlock(innerChannels === undefined ? {} : { innerChannels });
    case "RepVGGBlock":
    case "RepVGGplusBlock":
      return repVggBlock;
    case "OREPA":
      return orepaBlock();
    case "OREPA_1x1":
      return orepa1x1Block();
    case "OREPA_LargeConv":
      return orepaLargeBlock;
    case "OREPA_LargeConvBase":
      return orepaLargeBaseBlock;
    case "RepVGGBlock_OREPA":
      return orepaVggBlock;
    default:
      throw new Error(`no block for the reference's ${name}`);
  }
}

/** A graph of that block alone, on images of `size` pixels; if asked, with the output `customL2`. */
export function blockGraph(
  reference: ReferenceBlock,
  structure: Structure,
  { size = 11, customL2 = false }: { size?: number; customL2?: boolean } = {},
): Graph {
  const builder = new GraphBuilder();
  const scope = builder.root();
  const x = scope.input([reference.inChannels, size, size]);
  const { block, spec, surroundings } = reference;
  const outputs: Record<string, Value> = {};
  const onCustomL2 = customL2 ? (value: Value) => void (outputs["customL2"] = value) : undefined;
  const y = buildBlock(block, scope, x, spec, { structure, ...surroundings, onCustomL2 });
  return builder.build({ y, ...outputs });
}
