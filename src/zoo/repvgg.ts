/**
 * RepVGG (Ding et al., CVPR 2021): a plain stack of 3x3 convolutions in five stages.
 * References: DingXiaoH/RepVGG@eae7c52, repvgg.py; JUGGHM/OREPA_CVPR2022@3ed037b, models/repvgg.py.
 */
import {
  DENSE_BLOCKS,
  GROUPED_BLOCKS,
  type Architecture,
  type LayerOptions,
} from "./architecture.js";
import { classify } from "./classifier.js";

interface Design {
  readonly depths: readonly [number, number, number, number];
  /** Multipliers of the stages' widths 64, 128, 256, 512. */
  readonly widths: readonly [number, number, number, number];
  /** Groups of every second layer (numbers 2, 4, ..., 26, the stem being 0). */
  readonly groups?: 2 | 4;
  /** Squeeze-and-excitation before each activation, inner width outputs/16. */
  readonly squeeze?: boolean;
}

const A_DEPTHS = [2, 4, 14, 1] as const;
const B_DEPTHS = [4, 6, 16, 1] as const;

export const repvggs: readonly Architecture[] = [
  repvgg("RepVGG-A0", { depths: A_DEPTHS, widths: [0.75, 0.75, 0.75, 2.5] }),
  repvgg("RepVGG-A1", { depths: A_DEPTHS, widths: [1, 1, 1, 2.5] }),
  repvgg("RepVGG-A2", { depths: A_DEPTHS, widths: [1.5, 1.5, 1.5, 2.75] }),
  repvgg("RepVGG-B0", { depths: B_DEPTHS, widths: [1, 1, 1, 2.5] }),
  repvgg("RepVGG-B1", { depths: B_DEPTHS, widths: [2, 2, 2, 4] }),
  repvgg("RepVGG-B1g2", { depths: B_DEPTHS, widths: [2, 2, 2, 4], groups: 2 }),
  repvgg("RepVGG-B1g4", { depths: B_DEPTHS, widths: [2, 2, 2, 4], groups: 4 }),
  repvgg("RepVGG-B2", { depths: B_DEPTHS, widths: [2.5, 2.5, 2.5, 5] }),
  repvgg("RepVGG-B2g2", { depths: B_DEPTHS, widths: [2.5, 2.5, 2.5, 5], groups: 2 }),
  repvgg("RepVGG-B2g4", { depths: B_DEPTHS, widths: [2.5, 2.5, 2.5, 5], groups: 4 }),
  repvgg("RepVGG-B3", { depths: B_DEPTHS, widths: [3, 3, 3, 5] }),
  repvgg("RepVGG-B3g2", { depths: B_DEPTHS, widths: [3, 3, 3, 5], groups: 2 }),
  repvgg("RepVGG-B3g4", { depths: B_DEPTHS, widths: [3, 3, 3, 5], groups: 4 }),
  repvgg("RepVGG-D2se", { depths: [8, 14, 24, 1], widths: [2.5, 2.5, 2.5, 5], squeeze: true }),
];

function repvgg(name: string, design: Design): Architecture {
  return {
    name,
    blocks: repVggFirst(design.groups === undefined ? DENSE_BLOCKS : GROUPED_BLOCKS),
    build(network, images) {
      const { scope } = network;
      const widths = design.widths.map((factor, stage) => Math.trunc(64 * 2 ** stage * factor));
      const layer = (out: number, stride: number, groups: number): LayerOptions => ({
        out,
        kernel: 3,
        stride,
        groups,
        activation: "relu",
        squeeze:
          design.squeeze === true ? { position: "before", inner: Math.trunc(out / 16) } : undefined,
      });
      const stemWidth = Math.min(64, widths[0] ?? 64);
      let x = network.convolution(scope.child("stage0"), images, layer(stemWidth, 2, 1));
      let index = 0;
      for (const [stage, depth] of design.depths.entries()) {
        for (let block = 0; block < depth; block++) {
          index++;
          const groups = index % 2 === 0 && index <= 26 ? (design.groups ?? 1) : 1;
          const place = scope.child(`stage${stage + 1}`).child(String(block));
          x = network.convolution(place, x, layer(widths[stage] ?? 0, block === 0 ? 2 : 1, groups));
        }
      }
      return { logits: classify(network, x) };
    },
  };
}

/** Published RepVGG weights are of RepVGG blocks, so these are what one means unless one says otherwise. */
function repVggFirst(blocks: readonly string[]): readonly string[] {
  return ["RepVGG", ...blocks.filter((block) => block !== "RepVGG")];
}
