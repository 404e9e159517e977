// Classifiers of a few thousand weights, whose every number a test can work out for itself.

import {
  buildBlock,
  conv,
  convBn,
  convSpec,
  linear,
  repVggBlock,
} from "../../../src/blocks/index.js";
import {
  elementCount,
  type Graph,
  GraphBuilder,
  type Images,
  type Tensor,
  type Value,
} from "../../../src/graph/index.js";
import { fillInput, fillUniform } from "../../helpers/fill.js";

export const CLASSES = 7;
export const IMAGE = [3, 9, 8] as const;
export const MEAN = [0.5, 0.4, 0.3] as const;
export const STD = [0.2, 0.25, 0.3] as const;

export interface SmallNetwork {
  /** Batch norm makes images of a batch depend on each other. Default: true. */
  readonly batchNorm?: boolean;
  /** A second output, `aux`, half-way through. */
  readonly auxiliary?: boolean;
  /** Also the output `penalty`: the sum of squares of a kernel, or the custom L2 of a RepVGG block. */
  readonly penalty?: "squares" | "customL2";
  readonly classes?: number;
}

export function smallNetwork(options: SmallNetwork = {}): Graph {
  const { batchNorm = true, auxiliary = false, penalty, classes = CLASSES } = options;
  const builder = new GraphBuilder();
  const scope = builder.root();
  const images = scope.input(IMAGE, { mean: MEAN, std: STD });
  const outputs: Record<string, Value> = {};
  const layer = { kernel: 3, padding: 1 };
  const add = batchNorm ? convBn : conv;
  const first = scope.relu(add(scope, "first", images, { ...layer, out: 8, stride: 2 }));
  const spec = convSpec({ out: 8, kernel: 3 });
  const onCustomL2 =
    penalty === "customL2" ? (y: Value) => void (outputs["penalty"] = y) : undefined;
  const second =
    penalty === "customL2"
      ? buildBlock(repVggBlock, scope.child("second"), first, spec, {
          structure: "train",
          onCustomL2,
        })
      : add(scope, "second", first, { ...layer, out: 12 });
  const head = (name: string, x: Value) =>
    linear(scope, name, scope.flatten(scope.globalAvgPool(x)), classes);
  const logits = head("linear", scope.relu(second));
  if (auxiliary) outputs["aux"] = head("aux", first);
  if (penalty === "squares") {
    const kernel = builder.inputsOf(batchNorm ? builder.inputsOf(second)[0]! : second)[1]!;
    outputs["penalty"] = scope.einsum("oihw,oihw->", [kernel, kernel]);
  }
  return builder.build({ logits, ...outputs });
}

/** Images as numbers, normalised by whoever made them. */
export function floatImages(name: string, count: number): Tensor<Float32Array> {
  return fillInput(name, [count, ...IMAGE]);
}

/** The same pixels twice: as bytes [N,H,W,C], and as the numbers [N,C,H,W] that the graph makes of them. */
export function pixels(name: string, count: number): { bytes: Images; numbers: Tensor } {
  const [channels, height, width] = IMAGE;
  const area = height * width;
  const u = fillUniform(name);
  const shape = [count, height, width, channels];
  const data = Uint8Array.from({ length: elementCount(shape) }, (_, i) => 256 * u(i));
  const numbers = Float64Array.from({ length: data.length }, (_, i) => {
    const channel = Math.floor(i / area) % channels;
    const image = Math.floor(i / (area * channels));
    const byte = data[(image * area + (i % area)) * channels + channel]!;
    return (byte / 255 - MEAN[channel]!) / STD[channel]!;
  });
  return { bytes: { shape, data }, numbers: { shape: [count, ...IMAGE], data: numbers } };
}

export function classLabels(count: number, classes = CLASSES): Int32Array {
  return Int32Array.from({ length: count }, (_, n) => (n * 3 + 1) % classes);
}

/** Rows that sum to one, as mixup makes them. */
export function softLabels(name: string, count: number): Tensor<Float32Array> {
  const u = fillUniform(name);
  const data = new Float32Array(count * CLASSES);
  for (let n = 0; n < count; n++) {
    const row = Array.from({ length: CLASSES }, (_, c) => u(n * CLASSES + c));
    const total = row.reduce((sum, value) => sum + value, 0);
    data.set(
      row.map((value) => value / total),
      n * CLASSES,
    );
  }
  return { shape: [count, CLASSES], data };
}
