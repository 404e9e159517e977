/**
 * MobileNet v1 (Howard et al., 2017): depthwise 3x3 and pointwise 1x1 in turn.
 * Reference: DingXiaoH/DiverseBranchBlock@8d2b16b, mobilenet.py.
 */
import { channelsOf } from "../blocks/index.js";
import { GROUPED_BLOCKS, type Architecture } from "./architecture.js";
import { classify } from "./classifier.js";

/** Output channels and stride of each depthwise-pointwise pair. */
const PAIRS: readonly (readonly [out: number, stride: number])[] = [
  [64, 1],
  [128, 2],
  [128, 1],
  [256, 2],
  [256, 1],
  [512, 2],
  [512, 1],
  [512, 1],
  [512, 1],
  [512, 1],
  [512, 1],
  [1024, 2],
  [1024, 1],
];

export const mobilenet: Architecture = {
  name: "MobileNet",
  blocks: GROUPED_BLOCKS,
  build(network, images) {
    const { scope } = network;
    let x = network.convolution(scope.child("conv1"), images, {
      out: 32,
      kernel: 3,
      stride: 2,
      activation: "relu",
    });
    for (const [index, [out, stride]] of PAIRS.entries()) {
      const pair = scope.child("stem").child(String(index));
      const channels = channelsOf(x);
      x = network.convolution(pair.child("depthwise"), x, {
        out: channels,
        kernel: 3,
        stride,
        groups: channels,
        activation: "relu",
      });
      x = network.convolution(pair.child("pointwise"), x, { out, kernel: 1, activation: "relu" });
    }
    return { logits: classify(network, x) };
  },
};
