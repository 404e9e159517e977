/**
 * ResNet (He et al., CVPR 2016) and ResNeXt (Xie et al., CVPR 2017) as the re-parameterization papers
 * train them. References: DingXiaoH/DiverseBranchBlock@8d2b16b, resnet.py;
 * JUGGHM/OREPA_CVPR2022@3ed037b, models/resnet.py and models/resnext.py.
 */
import { channelsOf, convBnBlock } from "../blocks/index.js";
import type { Scope, Value } from "../graph/index.js";
import { DENSE_BLOCKS, GROUPED_BLOCKS, type Architecture, type Network } from "./architecture.js";
import { classify } from "./classifier.js";

interface Design {
  /** Residual blocks in each of the four stages. */
  readonly depths: readonly [number, number, number, number];
  readonly residual: "basic" | "bottleneck";
  /** Multiplier of every width. */
  readonly width?: number;
  /** Groups of the bottleneck's 3x3 convolution and its width per group. */
  readonly cardinality?: number;
  readonly widthPerGroup?: number;
}

export const resnets: readonly Architecture[] = [
  resnet("ResNet-18", { depths: [2, 2, 2, 2], residual: "basic" }),
  resnet("ResNet-34", { depths: [3, 4, 6, 3], residual: "basic" }),
  resnet("ResNet-50", { depths: [3, 4, 6, 3], residual: "bottleneck" }),
  resnet("ResNet-101", { depths: [3, 4, 23, 3], residual: "bottleneck" }),
  resnet("ResNet-18-1.5x", { depths: [2, 2, 2, 2], residual: "basic", width: 1.5 }),
  resnet("ResNet-18-2x", { depths: [2, 2, 2, 2], residual: "basic", width: 2 }),
  resnet("ResNeXt-50", {
    depths: [3, 4, 6, 3],
    residual: "bottleneck",
    cardinality: 32,
    widthPerGroup: 4,
  }),
];

function resnet(name: string, design: Design): Architecture {
  return {
    name,
    blocks: design.cardinality === undefined ? DENSE_BLOCKS : GROUPED_BLOCKS,
    build(network, images) {
      const { scope } = network;
      const width = design.width ?? 1;
      const stem = scope.child("stage0");
      let x = network.convolution(stem.child("conv1"), images, {
        out: Math.trunc(64 * width),
        kernel: 7,
        stride: 2,
        activation: "relu",
      });
      x = stem.maxPool(x, { kernel: 3, stride: 2, padding: 1 });
      for (const [index, depth] of design.depths.entries()) {
        const planes = Math.trunc(64 * 2 ** index * width);
        const stage = scope.child(`stage${index + 1}`);
        for (let block = 0; block < depth; block++) {
          const stride = index > 0 && block === 0 ? 2 : 1;
          x = residualBlock(network, stage.child(String(block)), x, { planes, stride, design });
        }
      }
      return { logits: classify(network, x) };
    },
  };
}

interface Residual {
  readonly planes: number;
  readonly stride: number;
  readonly design: Design;
}

function residualBlock(network: Network, scope: Scope, x: Value, residual: Residual): Value {
  const body = residual.design.residual === "basic" ? basicBlock : bottleneck;
  return scope.relu(body(network, scope, x, residual));
}

/** 3x3, 3x3. Its shortcut is always a plain convolution. */
function basicBlock(network: Network, scope: Scope, x: Value, { planes, stride }: Residual): Value {
  const shortcut =
    stride === 1 && channelsOf(x) === planes
      ? x
      : network.convolution(scope.child("shortcut"), x, {
          out: planes,
          kernel: 1,
          stride,
          always: convBnBlock,
        });
  const first = network.convolution(scope.child("conv1"), x, {
    out: planes,
    kernel: 3,
    stride,
    activation: "relu",
  });
  const second = network.convolution(scope.child("conv2"), first, { out: planes, kernel: 3 });
  return scope.add([second, shortcut]);
}

/** 1x1, 3x3 (grouped in ResNeXt), 1x1 to four times the planes. */
function bottleneck(network: Network, scope: Scope, x: Value, residual: Residual): Value {
  const { planes, stride, design } = residual;
  const out = 4 * planes;
  const { cardinality = 1, widthPerGroup = 64 } = design;
  const inner = cardinality * Math.trunc((planes * widthPerGroup) / 64);
  const shortcut =
    stride === 1 && channelsOf(x) === out
      ? x
      : network.convolution(scope.child("shortcut"), x, { out, kernel: 1, stride });
  const reduced = network.convolution(scope.child("conv1"), x, {
    out: inner,
    kernel: 1,
    activation: "relu",
  });
  const mixed = network.convolution(scope.child("conv2"), reduced, {
    out: inner,
    kernel: 3,
    stride,
    groups: cardinality,
    activation: "relu",
  });
  const expanded = network.convolution(scope.child("conv3"), mixed, { out, kernel: 1 });
  return scope.add([expanded, shortcut]);
}
