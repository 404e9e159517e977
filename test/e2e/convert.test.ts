// `repkit convert`: what it prints where, what it exits with, and what it refuses.

import {
  chmodSync,
  copyFileSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  truncateSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { afterAll, afterEach, beforeAll, describe, expect, it } from "@jest/globals";

import { saveCheckpoint, writePyTorch } from "../../src/checkpoint/index.js";
import type { State, Tensor } from "../../src/graph/index.js";
import type { Model } from "../../src/zoo/index.js";
import { repkit } from "../helpers/cli.js";
import { deployedState, expectState, filledModel, metadataOf } from "../helpers/deployed.js";
import { FIXTURES } from "../helpers/fixtures.js";

const folder = mkdtempSync(join(tmpdir(), "repkit-convert-"));
const at = (name: string) => join(folder, name);
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const input = at("trained.ckpt");
const output = at("out.ckpt");
let model: Model;
let state: State;
let kept: string[];

beforeAll(() => {
  ({ model, state } = filledModel({ arch: "MobileNet", block: "ACB", numClasses: 5 }));
  saveCheckpoint(input, { model, state, metadata: { epoch: 90 } });
  saveCheckpoint(at("trained.pth"), { model, state });
  kept = readdirSync(folder);
});

afterEach(() => {
  for (const name of readdirSync(folder)) {
    if (!kept.includes(name)) rmSync(at(name), { recursive: true });
  }
});

/** Expects a refusal in one line, and no file that was not there before. */
function expectRefusal(args: string[], code: number, message: string | RegExp): void {
  const before = readdirSync(folder);
  const outcome = repkit("convert", ...args);
  expect(outcome).toEqual({ code, stdout: "", stderr: expect.any(String) });
  expect(outcome.stderr.split("\n")).toHaveLength(2);
  if (typeof message === "string") expect(outcome.stderr).toBe(`error: ${message}\n`);
  else expect(outcome.stderr).toMatch(message);
  expect(readdirSync(folder)).toEqual(before);
}

describe("done: exit code 0", () => {
  it("for people: what it is, what it costs, how it was checked, where it went", () => {
    const { code, stdout, stderr } = repkit("convert", input, output);
    expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
    const number = String.raw`\d\.\de-\d+`;
    expect(stdout).toMatch(
      new RegExp(
        "^MobileNet x ACB, deploy structure\n" +
          "  27 convolutions folded\n" +
          "  parameters    3.26 M -> 3.20 M\n" +
          "  multiply-adds 586.54 M -> 567.72 M\n" +
          `  verified: outputs of the folded convolutions differ by ${number} of the largest value ` +
          String.raw`\(allowed 1.9e-6\), most in [\w.]+` +
          `\n            logits by ${number} \\(allowed 1.0e-5\\)\n` +
          `  ${output.replaceAll(".", "\\.")}: 12.8\\d MB in \\d+\\.\\d\\d s\n$`,
      ),
    );
    expectState(output, deployedState(model, state));
    expect(metadataOf(output)).toMatchObject({ mode: "deploy", epoch: 90, source: input });
  });

  it("--json: one document", () => {
    const { code, stdout, stderr } = repkit("convert", input, output, "--json");
    expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
    expect(stdout.endsWith("}\n")).toBe(true);
    const document = JSON.parse(stdout) as Record<string, unknown>;
    expect(Object.keys(document)).toEqual([
      ...["input", "output", "arch", "block", "mode", "classes"],
      ...["params_before", "params_after", "macs_before", "macs_after"],
      ...["folded", "verified", "notes", "bytes", "seconds"],
    ]);
    const { verified } = metadataOf(output)!;
    expect(document).toEqual({
      ...{ input, output, arch: "MobileNet", block: "ACB", mode: "deploy", classes: 5 },
      ...{ params_before: 3_262_405, params_after: 3_201_157 },
      ...{ macs_before: 586_537_472, macs_after: 567_721_472 },
      ...{ folded: 27, verified, notes: [], bytes: statSync(output).size },
      seconds: document["seconds"],
    });
    expect(verified).toEqual({
      worst: expect.any(String),
      worst_diff: expect.any(Number),
      tolerance: 2 ** -19,
      logits_diff: expect.any(Number),
      logits_tolerance: 1e-5,
    });
    expect(document["seconds"]).toBeGreaterThan(0);
  });

  it("--no-verify says so", () => {
    const { code, stdout } = repkit("convert", input, output, "--no-verify");
    expect(code).toBe(0);
    expect(stdout.split("\n")).toContain("  not verified");
    expect(metadataOf(output)).toMatchObject({ verified: "no" });
    const json = repkit("convert", input, output, "--no-verify", "--json").stdout;
    expect(JSON.parse(json)).toMatchObject({ verified: null });
  });

  it("--keep-structure folds nothing", () => {
    const { code, stdout } = repkit("convert", input, at("kept.pth"), "--keep-structure");
    expect(code).toBe(0);
    expect(stdout.split("\n")).toEqual([
      "MobileNet x ACB, train structure",
      expect.stringMatching(/^ {2}.*kept\.pth: 13\.\d\d MB in \d+\.\d\d s$/),
      "",
    ]);
    expectState(at("kept.pth"), state);
  });

  it("notes go to stderr, and --quiet leaves them out; in --json they are in the document", () => {
    const entries = Array.from(state, ([name, tensor]) => ({ name: `module.${name}`, tensor }));
    writePyTorch(at("parallel.pth"), entries);
    const note = 'every name begins with "module."; it was left off';
    const plain = repkit("convert", at("parallel.pth"), output);
    expect(plain).toMatchObject({ code: 0, stderr: `note: ${note}\n` });
    expect(plain.stdout).not.toContain("note");
    const quiet = repkit("convert", at("parallel.pth"), output, "--quiet");
    expect(quiet).toMatchObject({ code: 0, stderr: "" });
    expect(quiet.stdout).toMatch(/^MobileNet x ACB, deploy structure\n/);
    const json = repkit("convert", at("parallel.pth"), output, "--json", "--quiet");
    expect(json).toMatchObject({ code: 0, stderr: "" });
    expect(JSON.parse(json.stdout)).toMatchObject({ notes: [note] });
  });

  it("takes what it is told, where it is so", () => {
    const flags = ["-a", "MobileNet", "-t", "ACB", "--num-classes", "5", "--img-size", "160"];
    expect(repkit("convert", at("trained.pth"), output, ...flags).code).toBe(0);
    expect(metadataOf(output)).toMatchObject({ imgSize: 160, classes: 5 });
  });
});

describe("threads", () => {
  // Large enough to share products.
  const large = { arch: "RepVGG-A0", block: "ACB", numClasses: 10 } as const;

  it("make the same file as one thread", () => {
    const filled = filledModel(large);
    saveCheckpoint(at("large.pth"), filled);
    for (const threads of ["1", "3"]) {
      const made = at(`threads-${threads}.pth`);
      const outcome = repkit("convert", at("large.pth"), made, "--threads", threads);
      expect(outcome).toMatchObject({ code: 0, stderr: "" });
    }
    const [one, three] = [at("threads-1.pth"), at("threads-3.pth")].map((p) => readFileSync(p));
    expect(three!.equals(one!)).toBe(true);
    expectState(at("threads-3.pth"), deployedState(filled.model, filled.state));

    // A storage that is damaged is found when it is read.
    const bytes = readFileSync(at("large.pth"));
    bytes[bytes.length >> 1]! ^= 1;
    writeFileSync(at("damaged.pth"), bytes);
    expectRefusal(
      [at("damaged.pth"), output, "--threads", "3"],
      3,
      /damaged\.pth: damaged: the checksum of tensor stage3\.\d+\.\w+\.\w+ does not match\n$/,
    );
  }, 30_000);
});

describe("usage: exit code 2", () => {
  it.each([
    [[], "missing required argument 'in'"],
    [["in.ckpt"], "missing required argument 'out'"],
    [
      ["in.ckpt", "out.ckpt", "x"],
      "too many arguments for 'convert'. Expected 2 arguments but got 3.",
    ],
    [
      ["in.ckpt", "out.ckpt", "--no-verfy"],
      "unknown option '--no-verfy' (Did you mean --no-verify?)",
    ],
    [["in.ckpt", "out.ckpt", "--frobnicate"], "unknown option '--frobnicate'"],
    [
      ["in.ckpt", "out.ckpt", "--threads", "0"],
      "option '--threads <n>' argument '0' is invalid. expected a whole number from 1",
    ],
    [
      ["in.ckpt", "out.onnx"],
      "out.onnx: ONNX cannot be written yet; use one of .ckpt, .safetensors, .pth.tar, .pth, .pt",
    ],
    [
      ["in.ckpt", "out.h5"],
      "out.h5: what to write is told by the extension; use one of .ckpt, .safetensors, .pth.tar, .pth, .pt",
    ],
  ])("%j: %s", (args, message) => expectRefusal(args, 2, message));

  it.each([
    [["-a", "MobilNet"], 'unknown architecture "MobilNet"; did you mean "MobileNet"?'],
    [["-t", "ACBB"], 'unknown block "ACBB"; did you mean "ACB"?'],
  ])("%j: %s", (flags, message) => {
    expectRefusal([at("trained.pth"), output, ...flags], 2, message);
    expectRefusal([input, output, ...flags], 2, message);
  });
});

describe("files: exit code 3", () => {
  it("a missing input", () => {
    expectRefusal([at("none.pth"), output], 3, `${at("none.pth")}: no such file or folder`);
  });

  it.each([0, 1, 100, 100_000, 12_000_000])("a .pth cut off after %i bytes", (length) => {
    copyFileSync(at("trained.pth"), at("cut.pth"));
    truncateSync(at("cut.pth"), length);
    expectRefusal([at("cut.pth"), output], 3, /^error: .*cut\.pth: \w.+\n$/);
  });

  it.each([1, 100, 100_000, 12_000_000])("a .ckpt cut off after %i bytes", (length) => {
    copyFileSync(input, at("cut.ckpt"));
    truncateSync(at("cut.ckpt"), length);
    expectRefusal([at("cut.ckpt"), output], 3, /^error: .*cut\.ckpt: \w.+\n$/);
  });

  it.each([
    ["hostile_os_system.pth", "os.system"],
    ["hostile_os_system_legacy.pth", "os.system"],
    ["hostile_builtins_eval.pth", "builtins.eval"],
    ["hostile_builtins_eval_legacy.pth", "builtins.eval"],
    ["hostile_getattr_chain.pth", "getattr"],
    ["hostile_getattr_chain_legacy.pth", "getattr"],
  ])("%s: names %s, and executes nothing", (name, global) => {
    const before = readdirSync(process.cwd());
    expectRefusal([join(FIXTURES, "pth", name), output], 3, new RegExp(`${name}: .*${global}`));
    expect(readdirSync(process.cwd())).toEqual(before);
    expect(existsSync(join(process.cwd(), "marker"))).toBe(false);
    expect(existsSync(join(FIXTURES, "pth", "marker"))).toBe(false);
  });

  it.each(["trained.pth", "trained.ckpt"])(
    "%s as another architecture: names both, and the first tensors that differ",
    (name) => {
      expectRefusal(
        [at(name), output, "-a", "RepVGG-A0"],
        3,
        /is a training MobileNet x ACB with 5 classes.*; you asked for RepVGG-A0, in which linear\.weight is \(5,1024\) instead of \(5,1280\), stage0\.rbr_reparam\.weight \(48,3,3,3\) is missing, .* and \d+ more\n$/,
      );
    },
  );

  it("another number of classes", () => {
    expectRefusal(
      [at("trained.pth"), output, "--num-classes", "1000"],
      3,
      /is a training MobileNet x ACB with 5 classes; you asked for 1000 classes, in which linear\.weight \(5,1024\)|in which linear\.weight is \(5,1024\) instead of \(1000,1024\)/,
    );
  });

  const edited = (edit: (entries: Map<string, Tensor>) => void) => {
    const entries = new Map(state);
    edit(entries);
    writePyTorch(
      at("edited.pth"),
      Array.from(entries, ([name, tensor]) => ({ name, tensor })),
    );
    return [at("edited.pth"), output];
  };

  it("missing and unexpected tensors are listed", () => {
    const args = edited((entries) => {
      entries.delete("conv1.square_conv.weight");
      entries.delete("stem.3.pointwise.bn.running_var");
      entries.set("ema.decay", { shape: [1], data: Float32Array.of(0.99) });
    });
    expectRefusal(
      args,
      3,
      /is not quite a training MobileNet x ACB with 5 classes \(3 tensors differ\).*: 2 missing: conv1\.square_conv\.weight \(32,3,3,3\), stem\.3\.pointwise\.bn\.running_var \(256\); 1 unexpected: ema\.decay \(1\)\n$/,
    );
  });

  it("a tensor of another shape is listed", () => {
    const args = edited((entries) => {
      entries.set("linear.bias", { shape: [6], data: new Float32Array(6) });
    });
    expectRefusal(args, 3, /1 of another shape: linear\.bias is \(6\) instead of \(5\)\n$/);
  });

  it("what is deployed already", () => {
    expect(repkit("convert", input, output).code).toBe(0);
    const message =
      `${output}: is a deployed MobileNet x ACB already; to change its container only, ` +
      "add --keep-structure";
    expectRefusal([output, at("twice.ckpt")], 3, message);
    expect(repkit("convert", output, at("twice.ckpt"), "--keep-structure").code).toBe(0);
  });

  it("an output that cannot be", () => {
    mkdirSync(at("folder.ckpt"));
    const nowhere = join(at("nowhere"), "out.ckpt");
    expectRefusal([input, nowhere], 3, `${nowhere}: the folder ${at("nowhere")} does not exist`);
    expectRefusal(
      [input, at("folder.ckpt")],
      3,
      `${at("folder.ckpt")}: is a folder; name a file in it`,
    );
  });

  const isRoot = process.getuid?.() === 0;
  (isRoot ? it.skip : it)("an output that is not writable (skipped for root, who may)", () => {
    mkdirSync(at("locked"));
    chmodSync(at("locked"), 0o555);
    const locked = join(at("locked"), "out.ckpt");
    expectRefusal([input, locked], 3, `${locked}: the folder ${at("locked")} is not writable`);
    writeFileSync(output, "precious");
    chmodSync(output, 0o444);
    expectRefusal([input, output], 3, `${output}: is not writable`);
  });
});

describe("verification: exit code 4", () => {
  it("weights that are no numbers: names the convolution, and leaves the old output", () => {
    const broken = new Map(state);
    const { shape, data } = state.get("stem.2.pointwise.bn.bias") as Tensor<Float32Array>;
    const values = data.slice();
    values[0] = NaN;
    broken.set("stem.2.pointwise.bn.bias", { shape, data: values });
    saveCheckpoint(at("broken.ckpt"), { model, state: broken });
    writeFileSync(output, "precious");
    expectRefusal(
      [at("broken.ckpt"), output],
      4,
      "the convolution stem.2.pointwise.conv after folding differs from before by no finite share " +
        "of the largest value, at most 1.91e-6 is allowed (are there NaN or infinite weights?); " +
        `${output} was not written`,
    );
    expect(readFileSync(output, "utf8")).toBe("precious");
  });
});
