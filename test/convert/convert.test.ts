// Conversions from file to file: the numbers, what the output says of itself, and what is refused.

import {
  chmodSync,
  copyFileSync,
  existsSync,
  lstatSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";

import { beforeAll, describe, expect, it } from "@jest/globals";

import { openTensorFile, saveCheckpoint, writePyTorch } from "../../src/checkpoint/index.js";
import { convert, type ConvertOptions } from "../../src/convert/index.js";
import { graphMacs, parametersOf, type State, type Tensor } from "../../src/graph/index.js";
import { foldGraph, materialise } from "../../src/reparam/index.js";
import { architectures, buildModel, type Model } from "../../src/zoo/index.js";
import { safetensorsFile, temporaryFolder } from "../checkpoint/support.js";
import {
  deployedState,
  distanceFromReference,
  expectState,
  metadataOf,
  writeFilled,
} from "../helpers/deployed.js";
import { failureOf } from "../helpers/failures.js";
import { readModel } from "../helpers/fixtures.js";

const folder = temporaryFolder();
const at = (name: string) => join(folder.path(), name);

/** In this thread; the threads are tested on the built package (test/e2e). */
const run = (input: string, output: string, options: Partial<ConvertOptions> = {}) =>
  convert({ input, output, threads: 0, ...options });

/** Where the check has nothing to add: the file is compared bit by bit. */
const quick = (input: string, output: string, options: Partial<ConvertOptions> = {}) =>
  run(input, output, { verify: false, ...options });

const CONTAINERS = [
  ["ckpt", "safetensors"],
  ["safetensors", "safetensors"],
  ["pth", "pytorch-zip"],
  ["pt", "pytorch-zip"],
  ["pth.tar", "pytorch-zip"],
] as const;

const SMALL = { arch: "MobileNet", block: "base", numClasses: 7 } as const;

const TRAINED = {
  epoch: 119,
  step: 600_480,
  bestAcc1: 71.25,
  recipe: { lr: 0.1, epochs: 120 },
} as const;

let small: { model: Model; state: State };
beforeAll(() => {
  small = writeFilled(at("small.ckpt"), SMALL, TRAINED);
  saveCheckpoint(at("small.pth"), small);
});

describe("the reference's deployed tensors", () => {
  const MODELS = ["dbb__MobileNet__DBB", "repvgg__RepVGG-A0__RepVGG"] as const;
  beforeAll(() => {
    for (const name of MODELS) {
      const { arch, block } = readModel(name);
      const filled = writeFilled(at(`${name}.ckpt`), { arch, block });
      if (arch === "MobileNet") saveCheckpoint(at(`${name}.pth`), filled);
    }
  });

  it.each([
    ...CONTAINERS.map(([extension]) => [MODELS[0], "ckpt", extension] as const),
    [MODELS[0], "pth", "ckpt"] as const,
    [MODELS[1], "ckpt", "pth"] as const,
    [MODELS[1], "ckpt", "ckpt"] as const,
  ])("%s, .%s to .%s: within 1e-6", async (name, from, to) => {
    const reference = readModel(name);
    const output = at(`${name}-deployed.${to}`);
    const conversion = await quick(at(`${name}.${from}`), output);
    expect(distanceFromReference(output, reference)).toBeLessThan(1e-6);
    const { arch, block, params_train, params_deploy } = reference;
    expect(conversion).toMatchObject({
      ...{ arch, block, numClasses: 1000, structure: "deploy", output },
      before: { params: params_train },
      after: { params: params_deploy },
      bytes: statSync(output).size,
    });
    const deployed = buildModel({ arch, block, structure: "deploy" });
    expect(conversion.after.macs).toBe(graphMacs(deployed.graph));
    expect(conversion.folded).toBe(deployed.layers.length);
  });

  it("its difference is within the tolerance, and far from none", async () => {
    const { verification } = await run(at(`${MODELS[0]}.ckpt`), at("verified.ckpt"));
    const { worst, worst_diff, tolerance, logits_diff, logits_tolerance } = verification!;
    expect({ tolerance, logits_tolerance }).toEqual({
      tolerance: 2 ** -19,
      logits_tolerance: 1e-5,
    });
    expect(worst).toMatch(/^stem\.\d+\.(depthwise|pointwise)|^stage/);
    expect(worst_diff).toBeGreaterThan(2 ** -30);
    expect(worst_diff).toBeLessThan(2 ** -21);
    expect(logits_diff).toBeGreaterThan(1e-12);
    expect(logits_diff).toBeLessThan(1e-6);
  });

  it("a deployed file goes from container to container and back, bit by bit", async () => {
    const first = at("there.pth");
    await quick(at(`${MODELS[0]}.ckpt`), first);
    const second = at("there.ckpt");
    await run(first, second, { keepStructure: true });
    const third = at("back.pth");
    await run(second, third, { keepStructure: true });
    expect(readFileSync(third).equals(readFileSync(first))).toBe(true);
    expect(metadataOf(second)).toEqual({
      ...{ arch: "MobileNet", block: "DBB", mode: "deploy", classes: 1000, imgSize: 224 },
      source: first,
    });
  });
});

describe("every pair of the registry", () => {
  it("folds to the state of its deployed structure, auxiliary heads dropped", () => {
    const pairs = architectures.flatMap(({ name, blocks }) =>
      blocks.map((b) => [name, b] as const),
    );
    expect(pairs.length).toBeGreaterThan(90);
    for (const [arch, block] of pairs) {
      const { graph } = buildModel({ arch, block, numClasses: 3 });
      const deployed = buildModel({ arch, block, numClasses: 3, structure: "deploy" }).graph;
      const outputs = deployed.outputs.map(({ name }) => name);
      expect([arch, block, outputs]).toEqual([arch, block, ["logits"]]);
      const folded = foldGraph(graph, { outputs });
      const { parameters } = materialise(graph, folded.graph, folded.groups);
      const list = (entries: readonly { name: string; shape: readonly number[] }[]) =>
        entries.map(({ name, shape }) => `${name} ${shape.join("x")}`);
      expect([arch, block, list(parameters)]).toEqual([arch, block, list(parametersOf(deployed))]);
    }
  });
});

describe("metadata", () => {
  it("says which network it is, how it was verified, and how far training had come", async () => {
    const { verification } = await run(at("small.ckpt"), at("meta.ckpt"), { imageSize: 192 });
    expect(metadataOf(at("meta.ckpt"))).toEqual({
      ...{ arch: "MobileNet", block: "base", mode: "deploy", classes: 7, imgSize: 192 },
      ...TRAINED,
      source: at("small.ckpt"),
      verified: { ...verification },
    });
  });

  it("--no-verify is recorded", async () => {
    const { verification } = await run(at("small.ckpt"), at("unverified.safetensors"), {
      verify: false,
    });
    expect(verification).toBeUndefined();
    expect(metadataOf(at("unverified.safetensors"))).toMatchObject({
      verified: "no",
      epoch: TRAINED.epoch,
      bestAcc1: TRAINED.bestAcc1,
    });
    expectState(at("unverified.safetensors"), deployedState(small.model, small.state));
  });

  it("a .pth has none, a .pth.tar what training scripts look for", async () => {
    await quick(at("small.ckpt"), at("meta.pth"));
    await quick(at("small.ckpt"), at("meta.pth.tar"));
    const bare = openTensorFile(at("meta.pth"));
    const wrapped = openTensorFile(at("meta.pth.tar"));
    expect([bare.root, [...bare.extras]]).toEqual(["", []]);
    expect([wrapped.root, [...wrapped.extras]]).toEqual([
      "state_dict",
      [
        ["epoch", 119],
        ["arch", "MobileNet"],
      ],
    ]);
    bare.close();
    wrapped.close();
  });
});

describe("--keep-structure", () => {
  it.each(CONTAINERS)(
    "to .%s: the same tensors in the same order",
    async (extension, container) => {
      const output = at(`kept.${extension}`);
      const conversion = await run(at("small.ckpt"), output, { keepStructure: true });
      expect(conversion).toMatchObject({ structure: "train", folded: 0, verification: undefined });
      expect(conversion.after).toEqual(conversion.before);
      expectState(output, small.state);
      const file = openTensorFile(output);
      expect(file.container).toBe(container);
      const dtypes = new Map(Array.from(file.tensors.values(), ({ name, dtype }) => [name, dtype]));
      expect(dtypes.get("conv1.bn.num_batches_tracked")).toBe("I64");
      expect(new Set(dtypes.values())).toEqual(new Set(["F32", "I64"]));
      file.close();
    },
  );

  it("keeps the metadata of training", async () => {
    await run(at("small.ckpt"), at("kept-meta.safetensors"), { keepStructure: true });
    expect(metadataOf(at("kept-meta.safetensors"))).toEqual({
      ...{ arch: "MobileNet", block: "base", mode: "train", classes: 7, imgSize: 224 },
      ...TRAINED,
      source: at("small.ckpt"),
    });
  });

  it("from .pth to .ckpt and back is the same file", async () => {
    await run(at("small.pth"), at("round.ckpt"), { keepStructure: true });
    await run(at("round.ckpt"), at("round.pth"), { keepStructure: true });
    expect(readFileSync(at("round.pth")).equals(readFileSync(at("small.pth")))).toBe(true);
  });
});

describe("a .ckpt whose first byte is that of a pickle", () => {
  // The first byte of safetensors is the low byte of the header's length: in one of 32 files, 0x80.
  it("is a .ckpt nevertheless", async () => {
    const write = (other: string) =>
      saveCheckpoint(at("eighty.ckpt"), {
        ...small,
        metadata: { other: new Map([["note", other]]) },
      });
    write("");
    const first = readFileSync(at("eighty.ckpt"))[0]!;
    write("x".repeat((0x180 - first) % 0x100));
    expect(readFileSync(at("eighty.ckpt"))[0]).toBe(0x80);
    await quick(at("eighty.ckpt"), at("eighty-deployed.ckpt"));
    expectState(at("eighty-deployed.ckpt"), deployedState(small.model, small.state));
  });
});

describe("inputs of other making", () => {
  const entries = (prefix = "") =>
    Array.from(small.state, ([name, tensor]) => ({ name: prefix + name, tensor }));

  it("DataParallel's prefix is left off, and said so", async () => {
    writePyTorch(at("parallel.pth"), entries("module."));
    const { notes } = await quick(at("parallel.pth"), at("parallel.ckpt"));
    expect(notes).toContain('every name begins with "module."; it was left off');
    expectState(at("parallel.ckpt"), deployedState(small.model, small.state));
  });

  it("a nested state_dict is found, and said so", async () => {
    writePyTorch(at("nested.pth.tar"), entries("module."), {
      key: "state_dict",
      beside: new Map<string, string | number>([
        ["epoch", 3],
        ["arch", "something"],
      ]),
    });
    const { notes } = await quick(at("nested.pth.tar"), at("nested.ckpt"));
    expect(notes).toEqual([
      'the weights are those under "state_dict"',
      'every name begins with "module."; it was left off',
      "beside the weights, not used: epoch, arch",
    ]);
    expectState(at("nested.ckpt"), deployedState(small.model, small.state));
  });

  it("float64 weights are folded as such and rounded once", async () => {
    const state: State = new Map(
      Array.from(small.state, ([name, { shape, data }]) => [
        name,
        data instanceof Float32Array
          ? { shape, data: Float64Array.from(data, (value) => value * (1 + 2 ** -26)) }
          : { shape, data },
      ]),
    );
    writePyTorch(
      at("double.pth"),
      Array.from(state, ([name, tensor]) => ({ name, tensor })),
    );
    await quick(at("double.pth"), at("double.ckpt"));
    expectState(at("double.ckpt"), deployedState(small.model, state));
  });

  it("float16 weights are taken exactly", async () => {
    // Multiples of 2^-8 below 4 are float16 numbers.
    const state: State = new Map(
      Array.from(small.state, ([name, { shape, data }]) => [
        name,
        data instanceof Float32Array
          ? { shape, data: data.map((value) => toEighthBit(value)) }
          : { shape, data },
      ]),
    );
    writeFileSync(at("half.safetensors"), halfFile(state));
    const { notes } = await quick(at("half.safetensors"), at("half.ckpt"));
    expect(notes).toEqual([]);
    expectState(at("half.ckpt"), deployedState(small.model, state));
  });

  it("files from before num_batches_tracked", async () => {
    const old = Array.from(small.state, ([name, tensor]) => ({ name, tensor })).filter(
      ({ name }) => !name.endsWith("num_batches_tracked"),
    );
    writePyTorch(at("old.pth"), old);
    const { notes } = await quick(at("old.pth"), at("old.ckpt"));
    expect(notes).toEqual([
      "it has no num_batches_tracked (PyTorch before 0.4.1); they count as 0",
    ]);
    expectState(at("old.ckpt"), deployedState(small.model, small.state));
  });

  it("one class, and no architecture named", async () => {
    const { model, state } = writeFilled(at("one.pth"), { ...SMALL, numClasses: 1 });
    const conversion = await quick(at("one.pth"), at("one.ckpt"));
    expect(conversion).toMatchObject({ arch: "MobileNet", block: "base", numClasses: 1 });
    expectState(at("one.ckpt"), deployedState(model, state));
  });
});

describe("refused", () => {
  const missing = () => at("no-such-input.pth");

  it("a file that is deployed already", async () => {
    await quick(at("small.ckpt"), at("deployed.ckpt"));
    await quick(at("small.ckpt"), at("deployed.pth"));
    for (const input of [at("deployed.ckpt"), at("deployed.pth")]) {
      const output = at("twice.ckpt");
      expect(await failureOf(() => run(input, output))).toMatchObject({
        kind: "file",
        message:
          `${input}: is a deployed MobileNet x base already; to change its container only, ` +
          "add --keep-structure",
      });
      expect(existsSync(output)).toBe(false);
    }
  });

  it.each([
    ["out.onnx", /out\.onnx: ONNX cannot be written yet; use one of \.ckpt, \.safetensors, /],
    ["out.bin", /out\.bin: what to write is told by the extension; use one of \.ckpt, /],
    ["out", /out: what to write is told by the extension; use one of \.ckpt, \.safetensors, /],
    ["out.tar", /out\.tar: what to write is told by the extension; use one of \.ckpt, /],
  ])("the output %s, before the input is looked at", async (name, message) => {
    const { kind, message: found } = await failureOf(() => run(missing(), at(name)));
    expect(kind).toBe("usage");
    expect(found).toMatch(message);
  });

  it("an output in a folder that does not exist, before the input is looked at", async () => {
    const output = join(folder.path(), "none", "out.ckpt");
    expect(await failureOf(() => run(missing(), output))).toMatchObject({
      kind: "file",
      message: `${output}: the folder ${join(folder.path(), "none")} does not exist`,
    });
  });

  it("an output below a file", async () => {
    const output = join(at("small.pth"), "out.ckpt");
    expect(await failureOf(() => run(missing(), output))).toMatchObject({
      kind: "file",
      message: `${output}: the folder ${at("small.pth")} does not exist`,
    });
  });

  it("an output that is a folder", async () => {
    mkdirSync(at("folder.ckpt"));
    expect(await failureOf(() => run(missing(), at("folder.ckpt")))).toMatchObject({
      kind: "file",
      message: `${at("folder.ckpt")}: is a folder; name a file in it`,
    });
    expect(readdirSync(at("folder.ckpt"))).toEqual([]);
  });

  it("an output that is no regular file", async () => {
    symlinkSync("/dev/null", at("null.ckpt"));
    expect(await failureOf(() => run(missing(), at("null.ckpt")))).toMatchObject({
      kind: "file",
      message: `${at("null.ckpt")}: is not a regular file`,
    });
  });

  it("an input that is missing: nothing is written", async () => {
    const { kind, message } = await failureOf(() => run(missing(), at("never.ckpt")));
    expect({ kind, message }).toEqual({
      kind: "file",
      message: `${missing()}: no such file or folder`,
    });
    expect(existsSync(at("never.ckpt"))).toBe(false);
  });

  it("weights of another architecture: names both and the first tensors that differ", async () => {
    const { kind, message, details } = await failureOf(() =>
      run(at("small.pth"), at("never.ckpt"), { arch: "ResNet-18" }),
    );
    expect(kind).toBe("file");
    expect(message).toMatch(
      /is a training MobileNet x base with 7 classes; you asked for ResNet-18/,
    );
    expect(details).toMatchObject({ recognised: { arch: "MobileNet", block: "base" } });
    expect(existsSync(at("never.ckpt"))).toBe(false);
  });

  it("the old output stays where a conversion fails", async () => {
    copyFileSync(at("small.pth"), at("precious.pth"));
    await failureOf(() => run(missing(), at("precious.pth")));
    await failureOf(() => run(at("small.ckpt"), at("precious.pth"), { arch: "ResNet-18" }));
    expect(readFileSync(at("precious.pth")).equals(readFileSync(at("small.pth")))).toBe(true);
  });
});

describe("one path for input and output", () => {
  it.each(["ckpt", "pth"])(".%s", async (extension) => {
    const path = at(`same.${extension}`);
    copyFileSync(at(`small.${extension}`), path);
    await quick(path, path);
    expectState(path, deployedState(small.model, small.state));
  });

  it.each(["ckpt", "pth"])(".%s with --keep-structure", async (extension) => {
    const path = at(`same-kept.${extension}`);
    copyFileSync(at(`small.${extension}`), path);
    await run(path, path, { keepStructure: true });
    expectState(path, small.state);
  });

  it("by way of a symbolic link, which stays one", async () => {
    copyFileSync(at("small.ckpt"), at("target.ckpt"));
    symlinkSync("target.ckpt", at("link.ckpt"));
    await quick(at("target.ckpt"), at("link.ckpt"));
    expect(lstatSync(at("link.ckpt")).isSymbolicLink()).toBe(true);
    expectState(at("target.ckpt"), deployedState(small.model, small.state));
  });

  it("an existing output keeps its permissions", async () => {
    const path = at("private.ckpt");
    copyFileSync(at("small.ckpt"), path);
    chmodSync(path, 0o640);
    await quick(path, path);
    expect((statSync(path).mode & 0o777).toString(8)).toBe("640");
  });
});

describe("progress", () => {
  it("counts every convolution once, to the end", async () => {
    const calls: (readonly [number, number])[] = [];
    const { folded } = await run(at("small.ckpt"), at("progress.ckpt"), {
      onProgress: (done, total) => calls.push([done, total]),
    });
    expect(folded).toBe(27);
    expect(calls).toEqual(Array.from({ length: 27 }, (_, i) => [i + 1, 27]));
  });

  it("leaves no temporary file", () => {
    expect(readdirSync(folder.path()).filter((name) => name.endsWith(".tmp"))).toEqual([]);
  });
});

const { fround, round, floor, log2 } = Math;

/** The nearest multiple of 2^-8. */
function toEighthBit(value: number): number {
  return fround(round(value * 256) / 256) + 0; // no negative zeros
}

/** A safetensors file with the floats as float16, which they are to be exactly. */
function halfFile(state: State): Buffer {
  let end = 0;
  const header: Record<string, object> = {};
  const parts: Buffer[] = [];
  for (const [name, { shape, data }] of state) {
    const bytes = data instanceof BigInt64Array ? Buffer.from(data.buffer) : halfBytes(data);
    const dtype = data instanceof BigInt64Array ? "I64" : "F16";
    header[name] = { dtype, shape, data_offsets: [end, end + bytes.length] };
    end += bytes.length;
    parts.push(bytes);
  }
  return safetensorsFile(header, Buffer.concat(parts));
}

function halfBytes(data: Exclude<Tensor["data"], BigInt64Array>): Buffer {
  const halves = new Uint16Array(data.length);
  for (let i = 0; i < data.length; i++) {
    const value = data[i]!;
    if (value === 0) continue;
    const size = value < 0 ? -value : value;
    const exponent = floor(log2(size));
    const mantissa = (size / 2 ** exponent - 1) * 1024;
    if (mantissa !== floor(mantissa)) throw new Error(`${value} is no float16`);
    halves[i] = (value < 0 ? 0x8000 : 0) | ((exponent + 15) << 10) | mantissa;
  }
  return Buffer.from(halves.buffer);
}
