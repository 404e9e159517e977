/**
 * Checks one folded group by running it: what the original nodes make of a random image against what
 * the convolution makes of it, both in float64, over an image just large enough to hold a window
 * that touches no border beside those that do, and some more outputs.
 */
import { RepkitError } from "../errors.js";
import {
  elementCount,
  feedImages,
  type Float64Tensor,
  type Graph,
  GraphBuilder,
  interpret,
  type Node,
  type OpOf,
  randomStream,
  type StateSource,
  type Tensor,
} from "../graph/index.js";

/** How far a folded convolution is from the nodes that it replaces. */
export interface GroupCheck {
  /**
   * The largest difference of two output values, as a share of the largest value of their channel:
   * a small channel must not hide behind a large one. Infinity where a value is not a number.
   */
  readonly share: number;
}

/**
 * Rounding to float32 moves a weight by some 2^-25 of itself, and so an output by 2^-25 of its
 * channel's typical size; among thousands of channels one moves 5 times as much, and in another the
 * largest of nine outputs is only 0.3 of the typical. Together 5e-7 (seen: 3e-7); four times that:
 */
export const GROUP_TOLERANCE = 2 ** -19;

/** Pixels a side: a channel's largest value is to be one of several, not one that may be near zero. */
const LEAST_OUTPUT = 3;

export interface GroupToCheck {
  /** Positions of the replaced activation nodes in the original graph, ascending. */
  readonly replaced: readonly number[];
  readonly conv: OpOf<"conv2d">;
  readonly weight: Tensor;
  readonly bias: Tensor | undefined;
}

/** Runs both forms of a group. `state` is the original's. */
export function checkGroup(original: Graph, state: StateSource, group: GroupToCheck): GroupCheck {
  const { replaced, conv, weight, bias } = group;
  const [, , height = 1, width = 1] = weight.shape;
  const size = (axis: 0 | 1, extent: number) =>
    Math.max(conv.dilation[axis] * (extent - 1), (LEAST_OUTPUT - 1) * conv.stride[axis]) +
    conv.stride[axis];
  const source = sourceOf(original, new Set(replaced));
  const [channels = 1] = source.type.shape;
  const shape = [channels, size(0, height), size(1, width)];
  const images = { shape: [1, ...shape], data: randomImage(elementCount(shape)) };
  const region = {
    ...feedImages(original, source.id, shape),
    outputs: [{ name: "y", value: replaced.at(-1) ?? -1 }],
  };
  const before = run(region, state, images);
  const after = run(convolutionGraph(shape, group), stateOf(weight, bias), images);
  return compare(before, after);
}

/** The one value from outside that the nodes read. */
function sourceOf(original: Graph, inside: ReadonlySet<number>): Node {
  const outside = new Set(
    [...inside]
      .flatMap((id) => original.nodes[id]?.inputs ?? [])
      .filter((id) => !inside.has(id) && original.nodes[id]?.type.world === "activation"),
  );
  const [source] = outside;
  if (source === undefined || outside.size > 1) {
    throw new RepkitError("internal", `a folded group reads ${outside.size} values`);
  }
  return original.nodes[source]!;
}

function convolutionGraph(
  [channels = 1, height = 1, width = 1]: readonly number[],
  { conv, weight, bias }: GroupToCheck,
): Graph {
  const scope = new GraphBuilder().root();
  const x = scope.input([channels, height, width]);
  const init = { kind: "constant", value: 0 } as const;
  const w = scope.param("weight", weight.shape, { init, decay: "kernel" });
  const b = bias && scope.param("bias", bias.shape, { init, decay: "bias" });
  return scope.builder.build({ y: scope.conv2d(x, w, b, conv) });
}

function stateOf(weight: Tensor, bias: Tensor | undefined): StateSource {
  return new Map([["weight", weight], ...(bias === undefined ? [] : [["bias", bias] as const])]);
}

/** Values uniform in ±1: every tap and channel counts. The same for all groups, as far as they reach. */
function randomImage(length: number): Float64Array {
  if (image.length < length) {
    const random = randomStream(0, "group check");
    image = Float64Array.from({ length: 2 * length }, () => 2 * random() - 1);
  }
  return image.subarray(0, length);
}

let image = new Float64Array();

function run(graph: Graph, state: StateSource, images: Tensor): Float64Tensor {
  return interpret(graph, state, images, { mode: "infer" }).outputs.get("y")!;
}

function compare(before: Float64Tensor, after: Float64Tensor): GroupCheck {
  const [, channels = 1] = before.shape;
  const area = before.data.length / channels;
  let worst = 0;
  for (let channel = 0; channel < channels; channel++) {
    let difference = 0;
    let scale = SMALLEST_SCALE;
    for (let i = channel * area; i < (channel + 1) * area; i++) {
      const own = Math.abs(before.data[i]! - after.data[i]!);
      // A NaN must never pass for a small difference.
      difference = Math.max(difference, Number.isNaN(own) ? Infinity : own);
      scale = Math.max(scale, Math.abs(before.data[i]!));
    }
    worst = Math.max(worst, difference === Infinity ? Infinity : difference / scale);
  }
  return { share: worst };
}

/** Below this, float32 has no full precision to keep: its smallest normal number is 1.2e-38. */
const SMALLEST_SCALE = 1e-30;
