// `repkit verify`: its document, its text, its exit, and what it refuses.

import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { afterAll, beforeAll, describe, expect, it, jest } from "@jest/globals";

import { saveCheckpoint } from "../../src/checkpoint/index.js";
import { verifyCommand, type VerifyCommandOptions } from "../../src/cli/commands/verify.js";
import type { State } from "../../src/graph/index.js";
import { fold } from "../../src/reparam/index.js";
import { buildModel } from "../../src/zoo/index.js";
import { filledModel } from "../helpers/deployed.js";
import { failureOf } from "../helpers/failures.js";
import { interpreterEngine } from "../helpers/interpreter-engine.js";
import { captureOutput } from "../helpers/written.js";

const folder = mkdtempSync(join(tmpdir(), "repkit-verify-"));
const at = (name: string) => join(folder, name);
afterAll(() => {
  rmSync(folder, { recursive: true });
});

beforeAll(() => {
  const options = { arch: "MobileNet", block: "ACB", numClasses: 5, imageSize: 32 };
  const { model, state } = filledModel(options);
  saveCheckpoint(at("trained.ckpt"), { model, state });
  const deploy = buildModel({ ...options, structure: "deploy" });
  const deployed: State = fold(model.graph, state).state;
  saveCheckpoint(at("deployed.ckpt"), { model: deploy, state: deployed });
  const name = [...deployed.keys()].filter((one) => one.endsWith("weight"))[3]!;
  const { shape, data } = deployed.get(name)!;
  const broken = Float32Array.from(data as Float32Array);
  broken[1]! *= 1.001;
  const state2 = new Map(deployed).set(name, { shape, data: broken });
  saveCheckpoint(at("broken.ckpt"), { model: deploy, state: state2 });
  const other = buildModel({ ...options, block: "DBB", structure: "deploy" });
  saveCheckpoint(at("other.ckpt"), {
    model: other,
    state: filledModel({ ...options, block: "DBB", structure: "deploy" }).state,
  });
});

jest.setTimeout(60_000);
const written = captureOutput();

const standard: VerifyCommandOptions = {
  ...{ logLevel: "info", engine: "auto", precision: "fp64", seed: 0, threads: 1 },
};

const verify = (weights: string | undefined, options: Partial<VerifyCommandOptions> = {}) =>
  verifyCommand(
    weights === undefined ? undefined : at(weights),
    { ...standard, ...options },
    async () => interpreterEngine,
  );

interface Document {
  readonly passed: number;
  readonly failed: number;
  readonly cases: readonly Record<string, unknown>[];
}
const document = () => JSON.parse(written.stdout) as Document;

describe("a trained checkpoint", () => {
  it("--json: one document, one case", async () => {
    await verify("trained.ckpt", { json: true });
    expect(document()).toMatchObject({ passed: 1, failed: 0, engine: "interpreter" });
    const [only] = document().cases;
    expect(only).toMatchObject({ name: "MobileNet x ACB", ok: true, reason: null });
    for (const field of ["sum_sq_diff", "max_abs_diff", "tolerance", "train_ms", "deploy_ms"]) {
      expect(only?.[field]).toBeGreaterThan(0);
    }
    expect(only?.["params_train"]).toBeGreaterThan(only?.["params_deploy"] as number);
    expect(only?.["macs_train"]).toBeGreaterThan(only?.["macs_deploy"] as number);
    expect(written.stderr).toBe("");
  });

  it("for people", async () => {
    await verify("trained.ckpt");
    expect(written.stdout).toMatch(
      /^MobileNet x ACB on interpreter: the deployed form computes the same\n/,
    );
    expect(written.stdout).toMatch(/ {2}parameters {5}3\.\d\d M -> 3\.\d\d M\n/);
    expect(written.stdout).toMatch(/most in \S+\n/);
  });

  it("against the file that was made of it", async () => {
    await verify("trained.ckpt", { against: at("deployed.ckpt"), json: true });
    expect(document()).toMatchObject({ passed: 1, failed: 0 });
  });

  it("against a file with one weight off by a thousandth: exit code 4, the layer named", async () => {
    const failure = await failureOf(() =>
      verify("trained.ckpt", { against: at("broken.ckpt"), json: true }),
    );
    expect(failure.kind).toBe("verification");
    expect(document()).toMatchObject({ passed: 0, failed: 1 });
    const [only] = document().cases;
    expect(only).toMatchObject({ ok: false });
    expect(failure.message).toContain(`${String(only?.["worst_layer"])} differs from its branches`);
  });
});

describe("files of the wrong kind: exit code 3", () => {
  it("a deployed one alone", async () => {
    expect(await failureOf(() => verify("deployed.ckpt"))).toEqual({
      kind: "file",
      message:
        `${at("deployed.ckpt")}: is a deployed MobileNet x ACB: nothing is left to fold; to hold it against ` +
        `the weights it came from: repkit verify TRAINED --against ${at("deployed.ckpt")}`,
      details: {},
    });
  });

  it("a trained one, or one that is not there, to be held against", async () => {
    const against = (name: string) =>
      failureOf(() => verify("trained.ckpt", { against: at(name) }));
    expect((await against("trained.ckpt")).kind).toBe("file");
    expect((await against("nowhere.ckpt")).kind).toBe("file");
    expect((await against("other.ckpt")).kind).toBe("file");
  });
});

describe("flags: exit code 2", () => {
  it.each([
    [{ against: "x.ckpt" }, "verify: --against does not go without WEIGHTS"],
    [{ batchSize: 2 }, "verify: --batch-size does not go without WEIGHTS"],
    [{ precision: "bf16" }, 'verify: expected --precision fp32 or fp64, received "bf16"'],
  ])("%j", async (options, message) => {
    expect(await failureOf(() => verify(undefined, options))).toMatchObject({
      kind: "usage",
      message,
    });
  });
});

it("without weights: a table, and a closing line", async () => {
  await verify(undefined, { arch: "MobileNet", blocktype: "base" });
  expect(written.stdout).toMatch(
    /^NETWORK +DIFFERENCE +ALLOWED +TRAIN MS +DEPLOY MS +FASTER\nMobileNet x base /,
  );
  expect(written.stdout).toMatch(/\n1 passed, 0 failed on interpreter in \d+\.\d s\n$/);
});
