// Deployed models and block base: every pair of the registry, layer for layer.

import { describe, expect, it } from "@jest/globals";

import { parametersOf } from "../../src/graph/index.js";
import { pairWithBase } from "../../src/train/base-pairing.js";
import { architectures, buildModel } from "../../src/zoo/index.js";
import { errorOf } from "../helpers/graphs.js";

const PAIRS = architectures.flatMap(({ name, blocks }) =>
  blocks.map((block) => ({ arch: name, block })),
);
/** Their residual blocks have one more ReLU: two 3x3 convolutions, and OREPA_VGG ends in ReLU always. */
const DIFFER = new Set(
  ["ResNet-18", "ResNet-34", "ResNet-18-1.5x", "ResNet-18-2x"].map((arch) => `${arch} x OREPA_VGG`),
);
const nameOf = ({ arch, block }: { arch: string; block: string }) => `${arch} x ${block}`;

/** `stage1.0.conv1` of `stage1.0.conv1.dbb_reparam.weight`. */
const scopeOf = (name: string) => name.split(".").slice(0, -2).join(".");

describe("the base model of a deployed one", () => {
  it.each(PAIRS.filter((pair) => !DIFFER.has(nameOf(pair))).map((pair) => [nameOf(pair), pair]))(
    "%s",
    (_, pair) => {
      const options = { ...(pair as (typeof PAIRS)[number]), numClasses: 7, imageSize: 64 };
      const deployed = buildModel({ ...options, structure: "deploy" });
      const { model, norms, kept, fresh } = pairWithBase(deployed, "W.ckpt");
      expect(model).toMatchObject({ ...options, block: "base", structure: "train" });

      // A batch norm for each layer of the architecture, in its scope, and in order of execution.
      expect(norms.map(({ deployed: { name } }) => name.split(".").slice(0, -1).join("."))).toEqual(
        deployed.layers.map(({ scope }) => scope),
      );
      expect(norms.map(({ norm }) => norm.name)).toEqual(
        deployed.layers.map(({ scope }) => `${scope}.bn`),
      );

      // All else is the parameter of the same place: kernels by their scopes, the rest by name.
      const shapes = new Map(parametersOf(deployed.graph).map(({ name, shape }) => [name, shape]));
      for (const { name, shape } of parametersOf(model.graph)) {
        const source = kept.get(name);
        const isFresh = fresh.includes(name.split(".")[0]!);
        const isNorm = !isFresh && /\.bn\.\w+$/.test(name);
        expect([name, source === undefined]).toEqual([name, isFresh || isNorm]);
        if (source === undefined) continue;
        expect(shapes.get(source)).toEqual(shape);
        if (source !== name) {
          expect(name).toBe(`${scopeOf(source)}.conv.weight`);
        }
      }
      // Nothing of the deployed model is left over, but the biases that batch norms take over.
      const biases = norms.map(({ deployed: { name } }) => `${name}.bias`);
      expect(new Set([...kept.values(), ...biases])).toEqual(new Set(shapes.keys()));
      const heads = ["stage1_aux", "stage2_aux", "stage3_first_aux"];
      expect(fresh).toEqual(options.arch === "RepVGGplus-L2pse" ? heads : []);
    },
  );

  it.each([...DIFFER])("does not exist for %s", (name) => {
    const [arch = "", block = ""] = name.split(" x ");
    const deployed = buildModel({ arch, block, structure: "deploy" });
    expect(errorOf(() => pairWithBase(deployed, "W.ckpt"))).toEqual({
      kind: "usage",
      message: expect.stringMatching(
        new RegExp(
          `^--insert-bn: W.ckpt is ${name}, which has relu at stage\\d\\.\\d\\.conv2\\.nonlinear ` +
            `where ${arch} x base has batchNorm; train its training structure instead$`,
        ),
      ),
    });
  });

  it("is not looked for where there are batch norms", () => {
    const trained = buildModel({ arch: "ResNet-18", block: "DBB", numClasses: 10 });
    expect(errorOf(() => pairWithBase(trained, "W.ckpt"))).toEqual({
      kind: "usage",
      message:
        "--insert-bn: W.ckpt is a training ResNet-18 x DBB with 10 classes, which has its batch " +
        "norms; leave --insert-bn out, or convert it first",
    });
  });
});
