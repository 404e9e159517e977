// Whose weights a list of tensors is: all reference models, other heads, other orders, and near misses.

import { describe, expect, it } from "@jest/globals";

import {
  describeWanted,
  recognise,
  requireRecognised,
  type Recognised,
  type TensorInfo,
} from "../../src/checkpoint/index.js";
import type { ModelOptions } from "../../src/zoo/index.js";
import { modelNames, readModel, type StateEntry } from "../helpers/fixtures.js";
import { errorOf } from "../helpers/graphs.js";
import { tensorsOf } from "./models.js";
import { random, refusal } from "./support.js";

function listed(state: readonly StateEntry[]): Map<string, TensorInfo> {
  return new Map(
    state.map(([name, shape]) => {
      const dtype = name.endsWith("num_batches_tracked") ? "I64" : "F32";
      return [name, { name, shape, dtype }];
    }),
  );
}

function shuffled<T>(items: Iterable<T>, seed: number): T[] {
  const below = random(seed);
  const list = [...items];
  for (let i = list.length - 1; i > 0; i--) {
    const j = below(i + 1);
    [list[i], list[j]] = [list[j]!, list[i]!];
  }
  return list;
}

/** A model's tensors with some replaced, added (undefined before) or removed (undefined now). */
function changed(
  options: ModelOptions,
  changes: Record<string, Partial<TensorInfo> | undefined>,
): Map<string, TensorInfo> {
  const tensors = tensorsOf(options);
  for (const [name, change] of Object.entries(changes)) {
    if (change === undefined) tensors.delete(name);
    else tensors.set(name, { name, dtype: "F32", shape: [], ...tensors.get(name), ...change });
  }
  return tensors;
}

const NAMES = modelNames();
it("has the reference's 58 models to recognise", () => {
  expect(NAMES).toHaveLength(58);
});

describe.each(NAMES)("%s", (name) => {
  const { arch, block, ...reference } = readModel(name);

  it.each(["train", "deploy"] as const)("%s", (structure) => {
    const found = recognise(listed(reference[`state_${structure}`])) as Recognised;
    expect(found).toMatchObject({ kind: "recognised", arch, structure, numClasses: 1000 });
    const twin = block === "OREPA_VGG" ? "RepVGG" : "OREPA_VGG";
    const isTie = structure === "deploy" && ["RepVGG", "RepVGGplus", "OREPA_VGG"].includes(block);
    // Grouped networks have no OREPA_VGG to be mistaken for.
    const isTied = isTie && !/g[24]$/.test(arch);
    expect(found.block).toBe(isTied && block === "OREPA_VGG" ? twin : block);
    expect(found.alsoMatches).toEqual(
      isTied ? [{ arch, block: "OREPA_VGG", structure: "deploy", sameNetwork: true }] : [],
    );
  });
});

describe("a list of tensors", () => {
  it("may be in any order", () => {
    const tensors = new Map(shuffled(tensorsOf({ arch: "RepVGG-A1", block: "OREPA" }), 1));
    expect(recognise(tensors)).toMatchObject({ arch: "RepVGG-A1", block: "OREPA" });
  });

  it.each([1, 10, 999, 500_000])("says that there are %i classes", (numClasses) => {
    for (const arch of ["ResNet-18", "MobileNet", "RepVGGplus-L2pse"]) {
      const block = arch === "RepVGGplus-L2pse" ? "RepVGGplus" : "base";
      const tensors = tensorsOf({ arch, block, numClasses });
      expect(recognise(tensors)).toMatchObject({ kind: "recognised", arch, block, numClasses });
    }
  });

  it("may be of several networks: the reference's own block first, the other one said", () => {
    const tensors = tensorsOf({ arch: "ResNet-18", block: "OREPA_VGG", structure: "deploy" });
    expect(recognise(tensors)).toMatchObject({
      block: "RepVGG",
      alsoMatches: [
        // One more ReLU in each residual block.
        { arch: "ResNet-18", block: "OREPA_VGG", structure: "deploy", sameNetwork: false },
      ],
    });
    expect(recognise(tensors, { block: "OREPA_VGG" })).toMatchObject({
      block: "OREPA_VGG",
      alsoMatches: [],
    });
  });

  it("may lack all num_batches_tracked, as before PyTorch 0.4.1, but not some", () => {
    const options = { arch: "ResNet-18", block: "ACB" };
    const tensors = tensorsOf(options);
    const counters = [...tensors.keys()].filter((name) => name.endsWith("num_batches_tracked"));
    expect(recognise(tensors)).toMatchObject({ withoutCounters: false });
    for (const name of counters) tensors.delete(name);
    expect(recognise(tensors)).toMatchObject({ ...options, withoutCounters: true });
    expect(recognise(changed(options, { [counters[3]!]: undefined }))).toMatchObject({
      kind: "near-miss",
      count: 1,
      missing: [{ name: counters[3], expected: [] }],
    });
  });

  it("may hold counters as floats, as some converters leave them", () => {
    const tensors = tensorsOf({ arch: "MobileNet", block: "base" });
    for (const [name, info] of tensors) tensors.set(name, { ...info, dtype: "F16" });
    expect(recognise(tensors)).toMatchObject({ arch: "MobileNet", block: "base" });
  });

  it("is recognised in a fraction of a second", () => {
    const tensors = tensorsOf({ arch: "ResNet-50", block: "DBB" });
    recognise(tensors);
    const start = performance.now();
    recognise(tensors);
    expect(performance.now() - start).toBeLessThan(500); // about 12 ms
  });
});

const DBB: ModelOptions = { arch: "ResNet-18", block: "DBB", numClasses: 10 };

describe("a near miss", () => {
  const NOT_QUITE =
    "f.pth: is not quite a training ResNet-18 x DBB with 10 classes (1 tensor differs); " +
    "save the whole state dict of the network and nothing else: ";
  it.each([
    [
      "one tensor dropped",
      { "stage1.0.conv1.dbb_origin.bn.weight": undefined },
      `${NOT_QUITE}1 missing: stage1.0.conv1.dbb_origin.bn.weight (64)`,
    ],
    [
      "the first tensor dropped",
      { "stage0.conv1.conv.weight": undefined },
      `${NOT_QUITE}1 missing: stage0.conv1.conv.weight (64,3,7,7)`,
    ],
    [
      "one reshaped",
      { "stage4.1.conv2.dbb_1x1.bn.running_var": { shape: [512, 1] } },
      `${NOT_QUITE}1 of another shape: stage4.1.conv2.dbb_1x1.bn.running_var is (512,1) instead of (512)`,
    ],
    [
      "one of integers",
      { "linear.weight": { dtype: "I8" } },
      `${NOT_QUITE}1 of another shape: linear.weight is I8 (10,512) instead of (10,512)`,
    ],
    [
      "one too many",
      { "fc.weight": { shape: [10, 512] } },
      `${NOT_QUITE}1 unexpected: fc.weight (10,512)`,
    ],
    [
      "heads of different sizes",
      { "linear.bias": { shape: [11] } },
      `${NOT_QUITE}1 of another shape: linear.bias is (11) instead of (10)`,
    ],
    [
      "no head",
      { "linear.bias": undefined, "linear.weight": undefined },
      "f.pth: is not quite a training ResNet-18 x DBB (2 tensors differ); save the whole state dict " +
        "of the network and nothing else: 2 missing: linear.weight (classes,512), linear.bias (classes)",
    ],
  ] as const)("%s", (_, changes, message) => {
    const tensors = changed(DBB, changes);
    const found = refusal(() => requireRecognised("f.pth", tensors));
    expect(found.message).toBe(message);
    expect(found.reason).toBe("unrecognised");
  });

  it("lists the first five of each kind, and for programs all", () => {
    const tensors = tensorsOf({ arch: "ResNet-18", block: "base" });
    const dropped = [...tensors.keys()].slice(3, 11);
    for (const name of dropped) tensors.delete(name);
    const extra = Array.from({ length: 6 }, (_, i) => `ema.${i}`);
    for (const name of extra) tensors.set(name, { name, dtype: "F32", shape: [i(name)] });
    const { message, details } = refusal(() => requireRecognised("f.pth", tensors));
    expect(message).toBe(
      "f.pth: is not quite a training ResNet-18 x base with 1000 classes (14 tensors differ); save " +
        "the whole state dict of the network and nothing else: 8 missing: " +
        "stage0.conv1.bn.running_mean (64), stage0.conv1.bn.running_var (64), " +
        "stage1.0.conv1.conv.weight (64,64,3,3), stage1.0.conv1.bn.weight (64), " +
        "stage1.0.conv1.bn.bias (64) and 3 more; 6 unexpected: " +
        "ema.0 (1), ema.1 (2), ema.2 (3), ema.3 (4), ema.4 (5) and 1 more",
    );
    expect(details).toMatchObject({
      nearest: { arch: "ResNet-18", block: "base", structure: "train", numClasses: 1000 },
      unexpected: extra,
      mismatched: [],
    });
    // The counter among them is no less missing than the rest; it comes last.
    const counter = "stage0.conv1.bn.num_batches_tracked";
    const rest = dropped.filter((name) => name !== counter);
    expect(details["missing"]).toEqual([...rest, counter]);
  });

  it("cuts names that are longer than any sentence, and shows no control characters", () => {
    const tensors = changed(DBB, { ["\x1b[2J".repeat(1000)]: { shape: [1] } });
    const { message } = refusal(() => requireRecognised("f.pth", tensors));
    expect(message).toContain("1 unexpected: \\u{1b}[2J\\u{1b}[2J");
    expect(message.length).toBeLessThan(700);
  });
});

/** 1-based number at the end of `ema.<i>`. */
function i(name: string): number {
  return Number(name.slice(name.lastIndexOf(".") + 1)) + 1;
}

describe("tensors of no architecture", () => {
  it.each([
    ["none at all", 0, "it has none"],
    ["another network's", 200, "200, the first is encoder.layer.0"],
  ])("%s", (_, count, what) => {
    const names = Array.from({ length: count }, (_, i) => `encoder.layer.${i}`);
    const tensors = new Map(
      names.map((name) => [name, { name, dtype: "F32", shape: [8] } as const]),
    );
    const { message, reason } = refusal(() => requireRecognised("f.pth", tensors));
    expect(reason).toBe("unrecognised");
    expect(message).toBe(
      `f.pth: its tensors (${what}) are of no architecture that repkit knows; see repkit list`,
    );
  });

  it("are explained when a network was asked for", () => {
    const tensors = new Map([["a", { name: "a", dtype: "F32", shape: [8] } as const]]);
    const wanted = { arch: "MobileNet", block: "base", structure: "deploy" } as const;
    const { message } = refusal(() => requireRecognised("f.pth", tensors, wanted));
    expect(message).toMatch(
      /^f\.pth: is not a deployed MobileNet x base \(57 tensors differ\); .*: 56 missing: conv1\.conv\.weight \(32,3,3,3\), .* and 51 more; 1 unexpected: a \(8\)$/,
    );
  });
});

describe("what the caller knows", () => {
  const A1 = { arch: "RepVGG-A1", block: "RepVGG", structure: "deploy" } as const;

  it.each([
    [{}],
    [{ arch: "RepVGG-A1" }],
    [{ block: "RepVGG" }],
    [{ arch: "RepVGG-A1", structure: "deploy" }],
    [{ numClasses: 1000 }],
    [{ ...A1, numClasses: 1000 }],
  ] as const)("narrows the search: %j", (wanted) => {
    expect(requireRecognised("f", tensorsOf(A1), wanted)).toMatchObject({
      ...A1,
      numClasses: 1000,
    });
  });

  it.each([
    [
      { arch: "RepVGG-A0" },
      "f.pth: is a deployed RepVGG-A1 x RepVGG with 1000 classes; you asked for RepVGG-A0, in which " +
        "stage0.rbr_reparam.weight is (64,3,3,3) instead of (48,3,3,3), " +
        "stage0.rbr_reparam.bias is (64) instead of (48), " +
        "stage1.0.rbr_reparam.weight is (64,64,3,3) instead of (48,48,3,3) and 40 more",
    ],
    [
      { numClasses: 10 },
      "f.pth: is a deployed RepVGG-A1 x RepVGG with 1000 classes; you asked for 10 classes, in which " +
        "linear.weight is (1000,1280) instead of (10,1280), linear.bias is (1000) instead of (10)",
    ],
    [
      { ...A1, block: "DBB" },
      "f.pth: is a deployed RepVGG-A1 x RepVGG with 1000 classes; you asked for RepVGG-A1 x DBB, the " +
        "deployed structure, in which stage0.dbb_reparam.weight (64,3,3,3) is missing, " +
        "stage0.dbb_reparam.bias (64) is missing, stage1.0.dbb_reparam.weight (64,64,3,3) is missing " +
        "and 85 more",
    ],
  ] as const)("and is contradicted by the tensors: %j", (wanted, message) => {
    const found = refusal(() => requireRecognised("f.pth", tensorsOf(A1), wanted));
    expect(found.reason).toBe("other-model");
    expect(found.message).toBe(message);
    expect(found.details["recognised"]).toEqual({ ...A1, numClasses: 1000 });
  });

  it("names a near miss of what was asked for, where the file is nothing else", () => {
    const tensors = changed(DBB, { "linear.bias": undefined });
    const { message } = refusal(() => requireRecognised("f.pth", tensors, { arch: "ResNet-18" }));
    expect(message).toContain("is not quite a training ResNet-18 x DBB with 10 classes (1 tensor");
  });

  it.each([
    [{ arch: "RepVGG-A7" }, 'unknown architecture "RepVGG-A7"; did you mean "RepVGG-A0"?'],
    [{ block: "DDB" }, 'unknown block "DDB"; did you mean "DBB"?'],
    [
      { arch: "RepVGG-B1g2", block: "OREPA_VGG" },
      "RepVGG-B1g2 has no block OREPA_VGG; nearest valid: OREPA (of RepVGG, base, ACB, DBB, OREPA)",
    ],
  ])("must exist: %j", (wanted, message) => {
    const error = errorOf(() => recognise(tensorsOf(A1), wanted));
    expect(error).toMatchObject({ kind: "usage", message });
  });

  it("is described as far as it is known", () => {
    expect(describeWanted({})).toBe("");
    expect(describeWanted({ arch: "A", block: "B", structure: "train", numClasses: 1 })).toBe(
      "A x B, the training structure, 1 class",
    );
    expect(describeWanted({ structure: "deploy" })).toBe("the deployed structure");
  });
});
