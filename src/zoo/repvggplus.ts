/**
 * RepVGGplus: deeper RepVGG with squeeze-and-excitation after each activation and, in training,
 * auxiliary classifiers after three of its stages.
 * Reference: DingXiaoH/RepVGG@eae7c52, repvggplus.py.
 */
import { batchNorm, channelsOf, conv, linear } from "../blocks/index.js";
import type { Scope, Value } from "../graph/index.js";
import type { Architecture, LayerOptions, Network } from "./architecture.js";
import { classify } from "./classifier.js";

/** Stages after the stem: name, width, depth, stride of the first layer, auxiliary classifier. */
const L2PSE_STAGES = [
  { name: "stage1", out: 160, depth: 8, stride: 2, auxiliary: true },
  { name: "stage2", out: 320, depth: 14, stride: 2, auxiliary: true },
  { name: "stage3_first", out: 640, depth: 12, stride: 2, auxiliary: true },
  { name: "stage3_second", out: 640, depth: 12, stride: 1, auxiliary: false },
  { name: "stage4", out: 2560, depth: 1, stride: 2, auxiliary: false },
] as const;

export const repvggplus: Architecture = {
  name: "RepVGGplus-L2pse",
  blocks: ["RepVGGplus", "base", "ACB", "DBB", "OREPA", "OREPA_VGG"],
  build(network, images) {
    const { scope } = network;
    let x = network.convolution(scope.child("stage0"), images, layer(64, 2));
    const tapped: { name: string; value: Value }[] = [];
    for (const { name, out, depth, stride, auxiliary } of L2PSE_STAGES) {
      const blocks = scope.child(name).child("blocks");
      for (let block = 0; block < depth; block++) {
        const options = layer(out, block === 0 ? stride : 1);
        x = network.convolution(blocks.child(String(block)), x, options);
      }
      if (auxiliary) tapped.push({ name: `${name}_aux`, value: x });
    }
    const logits = classify(network, x);
    if (network.structure === "deploy") return { logits };
    const heads = tapped.map(({ name, value }) => [name, auxiliaryHead(network, name, value)]);
    return { logits, ...(Object.fromEntries(heads) as Record<string, Value>) };
  },
};

function layer(out: number, stride: number): LayerOptions {
  const squeeze = { position: "after", inner: Math.trunc(out / 4) } as const;
  return { out, kernel: 3, stride, activation: "relu", squeeze };
}

/** Stride-2 convolution, batch norm, ReLU (`0`), global average, `3` = linear. */
function auxiliaryHead(network: Network, name: string, x: Value): Value {
  const head: Scope = network.scope.child(name);
  const first = head.child("0");
  const reduced = conv(first, "conv", x, { out: channelsOf(x), kernel: 3, stride: 2, padding: 1 });
  const active = first.relu(batchNorm(first, "bn", reduced));
  return linear(head, "3", head.flatten(head.globalAvgPool(active)), network.numClasses);
}
