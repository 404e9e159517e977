// The check before the output is put in place: small mistakes in one convolution or in the network are
// found, named, and nothing is written.

import { readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";

import { beforeAll, describe, expect, it } from "@jest/globals";

import { saveCheckpoint } from "../../src/checkpoint/index.js";
import type { GroupResult } from "../../src/convert/checker.js";
import { GroupFolder } from "../../src/convert/groups.js";
import { convert } from "../../src/convert/index.js";
import { judgeGroups, judgeLogits } from "../../src/convert/verification.js";
import {
  type Graph,
  GraphBuilder,
  type OpOf,
  type Scope,
  type State,
  type Tensor,
  type Value,
} from "../../src/graph/index.js";
import {
  checkGroup,
  foldGraph,
  GROUP_TOLERANCE,
  materialise,
  type GroupCheck,
} from "../../src/reparam/index.js";
import { buildModel, type Model } from "../../src/zoo/index.js";
import { temporaryFolder } from "../checkpoint/support.js";
import { deployedState, filledModel } from "../helpers/deployed.js";
import { failureOf } from "../helpers/failures.js";
import { convNamed, normNamed, randomState } from "../helpers/folding.js";
import { networkLogits } from "../helpers/network-logits.js";

const { abs, fround, max } = Math;

type Conv = OpOf<"conv2d">;

/** A folded convolution as it would be checked, and what it was folded from. */
interface Folded {
  graph: Graph;
  state: State;
  replaced: readonly number[];
  conv: Conv;
  weight: Tensor<Float32Array>;
  bias: Tensor<Float32Array>;
}

/** One mistake: what is to be checked instead. */
type Mistake = (folded: Folded) => Partial<Folded>;

function check(folded: Folded, mistake: Partial<Folded> = {}): GroupCheck {
  const { graph, state, replaced, conv, weight, bias } = { ...folded, ...mistake };
  return checkGroup(graph, state, { replaced, conv, weight, bias });
}

function shareOf({ share }: GroupCheck): number {
  return share;
}

const edited = (tensor: Tensor<Float32Array>, edit: (data: Float32Array) => void) => {
  const data = tensor.data.slice();
  edit(data);
  return { shape: tensor.shape, data };
};

const largest = (data: Float32Array) => data.reduce((most, value) => max(most, abs(value)), 0);

/** One weight off by a ten-thousandth of the largest. */
const nudged =
  (place: (length: number) => number): Mistake =>
  ({ weight }) => ({
    weight: edited(weight, (data) => {
      data[place(data.length)]! += 1e-4 * largest(data);
    }),
  });

const MISTAKES: readonly (readonly [what: string, mistake: Mistake])[] = [
  ["the first weight off by 1e-4 of the largest", nudged(() => 0)],
  ["a weight in the middle off by 1e-4 of the largest", nudged((length) => length >> 1)],
  ["the last weight off by 1e-4 of the largest", nudged((length) => length - 1)],
  ["a weight that is NaN", ({ weight }) => ({ weight: edited(weight, (d) => (d[5] = NaN)) })],
  [
    "a weight that is infinite",
    ({ weight }) => ({ weight: edited(weight, (d) => (d[5] = Infinity)) }),
  ],
  [
    "a weight of the other sign",
    ({ weight }) => ({ weight: edited(weight, (d) => (d[4]! *= -1)) }),
  ],
  [
    "two taps swapped",
    ({ weight }) => ({ weight: edited(weight, (d) => ([d[0], d[2]] = [d[2]!, d[0]!])) }),
  ],
  [
    "kernels mirrored",
    ({ weight }) => ({
      weight: edited(weight, (d) => {
        for (let at = 0; at < d.length; at += 9) d.subarray(at, at + 9).reverse();
      }),
    }),
  ],
  ["a bias off by 1e-3", ({ bias }) => ({ bias: edited(bias, (d) => (d[3]! += 1e-3)) })],
  ["a bias that is NaN", ({ bias }) => ({ bias: edited(bias, (d) => (d[3] = NaN)) })],
  [
    "two biases swapped",
    ({ bias }) => ({ bias: edited(bias, (d) => ([d[0], d[1]] = [d[1]!, d[0]!])) }),
  ],
  ["another padding", ({ conv }) => ({ conv: { ...conv, padding: [0, 0, 0, 0] } })],
  ["the padding on the other side", ({ conv }) => ({ conv: { ...conv, padding: [2, 2, 0, 0] } })],
  [
    "another stride",
    ({ conv }) => ({ conv: { ...conv, stride: conv.stride[0] === 1 ? [2, 2] : [1, 1] } }),
  ],
  [
    "another dilation, of the same output size",
    ({ conv }) => ({ conv: { ...conv, dilation: [2, 2], padding: [2, 2, 2, 2] } }),
  ],
  [
    "weights rounded to bfloat16",
    ({ weight }) => ({
      weight: edited(weight, (d) => {
        for (let i = 0; i < d.length; i++) d[i] = fround(d[i]! * 65537) - fround(d[i]! * 65536);
      }),
    }),
  ],
];

describe("a mistake in one convolution", () => {
  let model: Model;
  let state: State;
  let results: GroupResult[];
  let job: { folded: ReturnType<typeof foldGraph>; graph: Graph };
  let folder: GroupFolder;
  let convolutions: GroupFolder["convolutions"];
  let all: Map<string, { index: number; folded: Folded }>;

  beforeAll(() => {
    ({ model, state } = filledModel({ arch: "MobileNet", block: "DBB", numClasses: 3 }));
    const { graph } = model;
    const folded = foldGraph(graph, { outputs: ["logits"] });
    job = { folded, graph };
    folder = new GroupFolder(graph, folded, state);
    ({ convolutions } = folder);
    all = new Map(
      convolutions.map(({ name }, index) => [name, { index, folded: foldedBy(folder, index) }]),
    );
    results = Array.from(all.values(), ({ index, folded }) => ({ index, check: check(folded) }));
  });

  function foldedBy(by: GroupFolder, index: number): Folded {
    const { made } = by.fold(index);
    const [weight, bias] = [...made.values()] as Tensor<Float32Array>[];
    const { replaced } = job.folded.groups[index]!;
    return {
      ...{ graph: job.graph, state, replaced, conv: convolutions[index]!.op },
      ...{ weight: weight!, bias: bias! },
    };
  }

  it("without one, every convolution is within a quarter of the tolerance", () => {
    expect(job.folded.groups).toHaveLength(27);
    for (const { check: found } of results) {
      expect(shareOf(found)).toBeLessThan(GROUP_TOLERANCE / 4);
    }
    const judged = judgeGroups(results, convolutions, "out.ckpt");
    const worst = results[convolutions.findIndex(({ name }) => name === judged.worst)]!;
    expect(judged).toEqual({
      worst: judged.worst,
      worst_diff: shareOf(worst.check),
      tolerance: GROUP_TOLERANCE,
    });
    expect(judged.worst_diff).toBe(max(...results.map((result) => shareOf(result.check))));
  });

  describe.each([
    "conv1.dbb_reparam", // 3x3 3→32, stride 2
    "stem.0.depthwise.dbb_reparam", // 3x3 of 32 groups
    "stem.12.depthwise.dbb_reparam", // 3x3 of 1024 groups
  ])("%s", (name) => {
    it.each(MISTAKES)("%s", async (_what, mistake) => {
      const { index, folded } = all.get(name)!;
      const found = check(folded, mistake(folded));
      expect(found.share).toBeGreaterThan(0);
      // Others stand before and behind it: those that are right must not hide it.
      const judged = results.map((r) => (r.index === index ? { ...r, check: found } : r));
      const { kind, message, details } = await failureOf(() =>
        judgeGroups(judged, convolutions, "out.ckpt"),
      );
      expect(kind).toBe("verification");
      expect(message).toMatch(
        new RegExp(
          `^the convolution ${name.replaceAll(".", "\\.")} after folding differs from before by ` +
            `(\\d\\.\\d\\de[+-]\\d+|no finite share) of the largest value, at most 1\\.91e-6 is ` +
            `allowed( \\(are there NaN or infinite weights\\?\\))?; out\\.ckpt was not written$`,
        ),
      );
      expect(details["tolerance"]).toBe(GROUP_TOLERANCE);
      expect(details["difference"]).toBeGreaterThan(GROUP_TOLERANCE);
    });
  });

  it("one of 1024 input channels: a weight off by 1e-3 of the largest", () => {
    const { folded } = all.get("stem.12.pointwise.conv")!;
    const { weight } = folded;
    expect(weight.shape).toEqual([1024, 1024, 1, 1]);
    const nudge = edited(weight, (data) => (data[777_777]! += 1e-3 * largest(data)));
    expect(shareOf(check(folded, { weight: nudge }))).toBeGreaterThan(GROUP_TOLERANCE);
  });

  it("values that are no numbers before are no reason to pass", async () => {
    const broken = new Map(state);
    const name = "conv1.dbb_origin.conv.weight";
    const { shape, data } = state.get(name) as Tensor<Float32Array>;
    broken.set(
      name,
      edited({ shape, data }, (values) => (values[0] = NaN)),
    );
    const { index } = all.get("conv1.dbb_reparam")!;
    const folded = foldedBy(new GroupFolder(job.graph, job.folded, broken), index);
    const found = check(folded, { state: broken });
    const judged = results.map((r) => (r.index === index ? { index, check: found } : r));
    const { message } = await failureOf(() => judgeGroups(judged, convolutions, "out.ckpt"));
    expect(message).toMatch(/^the convolution conv1\.dbb_reparam .* by no finite share/);
  });

  it("an epsilon of 1e-3 in place of 1e-5", () => {
    const { index, folded } = all.get("conv1.dbb_reparam")!;
    const other: State = new Map(
      Array.from(state, ([name, tensor]) => [
        name,
        name.endsWith("running_var")
          ? edited(tensor as Tensor<Float32Array>, (d) => d.forEach((v, i) => (d[i] = v + 1e-3)))
          : tensor,
      ]),
    );
    const { weight } = foldedBy(new GroupFolder(job.graph, job.folded, other), index);
    const found = check(folded, { weight });
    expect(shareOf(found)).toBeGreaterThan(1e-4);
  });
});

describe("a mistake at the border alone", () => {
  /** 1x1 → batch norm → 3x3, padded either inside (with what the norm makes of 0) or by zeros. */
  function sequence(padded: "with the norm's value" | "with zeros"): Graph {
    const scope = new GraphBuilder().root();
    const inside = padded === "with the norm's value" ? 1 : 0;
    const build = (within: Scope, x: Value) => {
      const first = normNamed(within, "bn1", convNamed(within, "conv1", x, { kernel: 1 }), inside);
      return normNamed(within, "bn2", convNamed(within, "conv2", first, { padding: 1 - inside }));
    };
    return scope.builder.build({ y: build(scope, scope.input([3, 9, 9])) });
  }

  it("zeros around the inner norm are not what the folded convolution has there", () => {
    const [right, wrong] = [sequence("with the norm's value"), sequence("with zeros")];
    const state = randomState(right);
    const { graph, groups } = foldGraph(right);
    expect(groups).toHaveLength(1);
    const { parameters, convolutions } = materialise(right, graph, groups);
    const { op, weight, bias } = convolutions[0]!;
    const tensor = (position: number) => parameters[position]!.value(state) as Tensor<Float32Array>;
    const folded: Folded = {
      ...{ graph: right, state, replaced: groups[0]!.replaced, conv: op },
      ...{ weight: tensor(weight), bias: tensor(bias!) },
    };
    expect(shareOf(check(folded))).toBeLessThan(GROUP_TOLERANCE / 4);

    // The same nodes but for the padding: positions and parameters are the same.
    expect(wrong.nodes.map(({ name }) => name)).toEqual(right.nodes.map(({ name }) => name));
    const found = check(folded, { graph: wrong });
    expect(shareOf(found)).toBeGreaterThan(1e-3);
    // Inside, nothing differs: without padding both are the same.
    const bare = { padding: [0, 0, 0, 0] } as const;
    const inner = { ...folded, graph: wrong, conv: { ...op, ...bare } };
    const unpadded = {
      ...wrong,
      nodes: wrong.nodes.map((node) =>
        node.op.kind === "conv2d" ? { ...node, op: { ...node.op, ...bare } } : node,
      ),
    };
    expect(shareOf(check(inner, { graph: unpadded }))).toBeLessThan(GROUP_TOLERANCE / 4);
  });
});

describe("a mistake in the network", () => {
  const logitsOf = ({ graph }: Model, of: State) => networkLogits(graph, of);
  let model: Model;
  let state: State;
  let deployed: Model;
  let right: State;
  const run = (after: State) =>
    judgeLogits(logitsOf(model, state), logitsOf(deployed, after), "out.ckpt");

  beforeAll(() => {
    ({ model, state } = filledModel({ arch: "MobileNet", block: "base", numClasses: 3 }));
    deployed = buildModel({ ...model, structure: "deploy" });
    right = deployedState(model, state);
  });

  it("none: within a quarter of the tolerance, and the same network differs by nothing", () => {
    const { logits_diff, logits_tolerance } = run(right);
    expect(logits_tolerance).toBe(1e-5);
    expect(logits_diff).toBeGreaterThan(0);
    expect(logits_diff).toBeLessThan(1e-6);
    const logits = logitsOf(model, state);
    expect(judgeLogits(logits, logitsOf(model, state), "out.ckpt").logits_diff).toBe(0);
  });

  const with_ = (name: string, edit: (data: Float32Array) => void) => () => {
    return new Map(right).set(name, edited(right.get(name) as Tensor<Float32Array>, edit));
  };
  const swapped = (a: string, b: string) => () => {
    const [first, second] = [right.get(a)!, right.get(b)!];
    expect(first.shape).toEqual(second.shape);
    return new Map(right).set(a, second).set(b, first);
  };

  it.each<[string, () => State]>([
    [
      "the weights of two convolutions swapped",
      swapped("stem.7.depthwise.conv.weight", "stem.8.depthwise.conv.weight"),
    ],
    [
      "the biases of two convolutions swapped",
      swapped("stem.7.pointwise.conv.bias", "stem.8.pointwise.conv.bias"),
    ],
    [
      "the weights of two pointwise convolutions swapped",
      swapped("stem.9.pointwise.conv.weight", "stem.10.pointwise.conv.weight"),
    ],
    ["the classifier's bias off by a hundredth", with_("linear.bias", (d) => (d[2]! += 1e-2))],
    ["two classes swapped", with_("linear.bias", (d) => d.reverse())],
    ["a NaN", with_("stem.3.depthwise.conv.bias", (d) => (d[0] = NaN))],
    ["the classifier without weights", with_("linear.weight", (d) => d.fill(0))],
  ])("%s", async (_what, broken) => {
    const { kind, message } = await failureOf(() => run(broken()));
    expect(kind).toBe("verification");
    expect(message).toMatch(
      /^the network's output after folding differs from before by .* at most 1\.00e-5 is allowed.*; out\.ckpt was not written$/,
    );
  });
});

describe("convert", () => {
  const folder = temporaryFolder();
  const at = (name: string) => join(folder.path(), name);

  it.each([
    ["NaN", NaN],
    ["Infinity", Infinity],
  ])("a weight of %s: names the convolution, and leaves the old output", async (_name, value) => {
    const { model, state } = filledModel({ arch: "MobileNet", block: "base", numClasses: 2 });
    const name = "stem.5.depthwise.conv.weight";
    const { shape, data } = state.get(name) as Tensor<Float32Array>;
    state.set(
      name,
      edited({ shape, data }, (values) => (values[10] = value)),
    );
    saveCheckpoint(at("broken.ckpt"), { model, state });
    writeFileSync(at("out.ckpt"), "precious");
    const { kind, message } = await failureOf(() =>
      convert({ input: at("broken.ckpt"), output: at("out.ckpt"), threads: 0 }),
    );
    expect(kind).toBe("verification");
    expect(message).toBe(
      "the convolution stem.5.depthwise.conv after folding differs from before by no finite share " +
        "of the largest value, at most 1.91e-6 is allowed (are there NaN or infinite weights?); " +
        `${at("out.ckpt")} was not written`,
    );
    expect(readFileSync(at("out.ckpt"), "utf8")).toBe("precious");
    expect(readdirSync(folder.path()).sort()).toEqual(["broken.ckpt", "out.ckpt"]);
  });
});
