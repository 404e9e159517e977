/**
 * Rule III: a convolution after a convolution is one convolution (Ding et al., CVPR 2021, eq. 4 for
 * 1x1 → KxK):
 *
 *     W'[o,i,p] = Σ_t Σ_{u+v=p} W2[o,t,v] W1[t,i,u],    b'[o] = b2[o] + Σ_{t,v} W2[o,t,v] b1[t]
 *
 * Exact at the border only if the second convolution pads with what the first makes of zeros: it
 * must not pad, or the first must have neither bias nor extent along the padded axis.
 */
import { addConvolution, type Branch, branchOf, Emitter, kernelExtent } from "../branch.js";
import { gcd, geometryOf, type Taps, tapsOf } from "../geometry.js";
import { declined, notAbsorbable, type Rule } from "../rule.js";
import type { WorkGraph, WorkNode } from "../workgraph.js";

const NAME = "III sequence";

export const sequence: Rule = {
  name: NAME,
  roots: ["conv2d"],
  look(graph, node) {
    const second = branchOf(graph, node);
    const first = second && branchOf(graph, second.source);
    if (first === undefined || second === undefined) return undefined;
    const reason = notAbsorbable(graph, first.node, node) ?? inexactBorder(first, second);
    return reason === undefined
      ? { rewrite: () => compose(graph, node, first, second) }
      : declined(reason);
  },
};

function inexactBorder(first: Branch, second: Branch): string | undefined {
  const [top, bottom, left, right] = second.op.padding;
  const padded = [top > 0 || bottom > 0, left > 0 || right > 0] as const;
  if (!padded[0] && !padded[1]) return undefined;
  if (first.bias !== undefined) {
    return "the first convolution has a bias and the second pads with zeros: no convolution equals both at the border";
  }
  const extent = kernelExtent(first.kernel);
  const sides = [first.op.padding.slice(0, 2), first.op.padding.slice(2, 4)] as const;
  for (const axis of [0, 1] as const) {
    if (!padded[axis]) continue;
    if (extent[axis] > 1) {
      return `the second convolution pads with zeros where the first kernel (${extent.join("x")}) reaches into the image`;
    }
    if (sides[axis].some((side) => side < 0)) {
      return "the second convolution pads with zeros where the first has cropped";
    }
  }
  return undefined;
}

function compose(graph: WorkGraph, node: WorkNode, first: Branch, second: Branch): WorkNode {
  const emitter = new Emitter(graph, node);
  const firstTaps = tapsOf(first.op, kernelExtent(first.kernel));
  const secondTaps = tapsOf(second.op, kernelExtent(second.kernel));
  const axes = ([0, 1] as const).map((axis) =>
    composeTaps(firstTaps[axis], secondTaps[axis], first.op.stride[axis]),
  ) as [ComposedTaps, ComposedTaps];
  const groups = gcd(first.op.groups, second.op.groups);
  const { dilation, padding } = geometryOf([axes[0].taps, axes[1].taps]);
  const spread = (branch: Branch, step: readonly [number, number]) => {
    const extent = kernelExtent(branch.kernel);
    return emitter.embed(branch.kernel, {
      kernel: [step[0] * (extent[0] - 1) + 1, step[1] * (extent[1] - 1) + 1],
      offset: [0, 0],
      dilation: step,
      groups: { from: branch.op.groups, to: groups },
    });
  };
  const kernel =
    depthwiseProduct(emitter, first, second) ??
    emitter.compose(
      spread(first, [axes[0].firstDilation, axes[1].firstDilation]),
      spread(second, [axes[0].secondDilation, axes[1].secondDilation]),
      groups,
    );
  const carried = first.bias && carryBias(emitter, first.bias, second);
  return addConvolution(graph, node, {
    source: first.source,
    kernel,
    bias: emitter.addBiases([second.bias, carried]),
    geometry: {
      stride: [first.op.stride[0] * second.op.stride[0], first.op.stride[1] * second.op.stride[1]],
      padding,
      dilation,
      groups,
    },
    absorbed: [first.node],
    rule: NAME,
  });
}

interface ComposedTaps {
  readonly taps: Taps;
  readonly firstDilation: number;
  readonly secondDilation: number;
}

/**
 * Output i of the second reads first outputs s2 i + a2 + d2 k, each of which reads pixels
 * s1 (...) + a1 + d1 j. Hence start s1 a2 + a1, and steps s1 d2 and d1 on a common grid.
 */
function composeTaps(first: Taps, second: Taps, firstStride: number): ComposedTaps {
  const outerStep = firstStride * second.step;
  const steps = [first.count > 1 ? first.step : 0, second.count > 1 ? outerStep : 0] as const;
  const step = Math.max(1, gcd(...steps));
  const firstDilation = Math.max(1, steps[0] / step);
  const secondDilation = Math.max(1, steps[1] / step);
  return {
    taps: {
      start: firstStride * second.start + first.start,
      step,
      count: firstDilation * (first.count - 1) + secondDilation * (second.count - 1) + 1,
      // Nested floors: floor((floor(x / s1) + n) / s2) = floor((x + s1 n) / (s1 s2)).
      slack: first.slack + firstStride * second.slack,
    },
    firstDilation,
    secondDilation,
  };
}

/** 1x1 then depthwise (one output per input): every pair of numbers meets once, so no sum is needed. */
function depthwiseProduct(emitter: Emitter, first: Branch, second: Branch): WorkNode | undefined {
  const [inner = 0, perGroup = 0, firstH, firstW] = first.kernel.type.shape;
  const [out = 0, , height = 1, width = 1] = second.kernel.type.shape;
  if (second.op.groups !== inner || out !== inner || firstH !== 1 || firstW !== 1) return undefined;
  return emitter.einsum(
    "oi,ohw->oihw",
    emitter.reshape(first.kernel, [out, perGroup]),
    emitter.reshape(second.kernel, [out, height, width]),
  );
}

/** Σ_{t,v} W2[o,t,v] b1[t], within each group. */
function carryBias(emitter: Emitter, bias: WorkNode, second: Branch): WorkNode {
  const [out = 0, perGroup = 0, height = 1, width = 1] = second.kernel.type.shape;
  const { groups } = second.op;
  const kernel = emitter.reshape(second.kernel, [groups, out / groups, perGroup, height * width]);
  const sums = emitter.einsum("gotp,gt->go", kernel, emitter.reshape(bias, [groups, perGroup]));
  return emitter.reshape(sums, [out]);
}
