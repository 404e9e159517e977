import { describe, expect, it } from "@jest/globals";

import { parametersOf } from "../../src/graph/index.js";
import { type DecayOptions, parameterSettings } from "../../src/train/param-groups.js";
import { buildModel } from "../../src/zoo/index.js";
import { readJson } from "../helpers/fixtures.js";

/** Parameters with the same settings are one group; a setting is [multiplier, decay], one per rule. */
interface Reference {
  weight_decay: number;
  models: Record<
    string,
    { rules: string[]; groups: { settings: [number, number][]; params: string[] }[] }
  >;
}

const { weight_decay: weightDecay, models } = readJson("param_groups.json") as Reference;

const RULES: Record<string, Omit<DecayOptions, "weightDecay">> = {
  dbb: { rule: "dbb", custwd: false },
  orepa: { rule: "orepa", custwd: false },
  orepa_custwd: { rule: "orepa", custwd: true },
  repvgg_repo: { rule: "repvgg_repo", custwd: false },
  repvgg_paper: { rule: "repvgg_paper", custwd: false },
};

function settingsOf(options: DecayOptions, arch: string, block: string) {
  const settings = parameterSettings(options);
  const trained = parametersOf(buildModel({ arch, block, imageSize: 32 }).graph).filter(
    ({ role }) => role === "param",
  );
  return new Map(
    trained.map((parameter) => {
      const { lrMultiplier, weightDecay } = settings(parameter);
      return [parameter.name, [lrMultiplier, weightDecay]];
    }),
  );
}

describe("parameter groups of the references", () => {
  for (const [model, { rules, groups }] of Object.entries(models)) {
    const [arch = "", block = ""] = model.split("__");
    it.each(rules.map((rule, index) => ({ rule, index })))(`${model}: $rule`, (row) => {
      const options = RULES[row.rule];
      expect(options).toBeDefined();
      const expected = groups.flatMap(({ settings, params }) =>
        params.map((name) => [name, settings[row.index]] as const),
      );
      const actual = settingsOf({ ...options!, weightDecay }, arch, block);
      expect(Object.fromEntries(actual)).toEqual(Object.fromEntries(expected));
    });
  }
});

describe("rules beyond the recorded models", () => {
  const of = (options: DecayOptions, name: string, shape: number[] = [4, 4, 3, 3]) =>
    parameterSettings(options)({ name, shape });

  it("`all` treats every parameter alike", () => {
    const groups = new Set(
      [
        ...settingsOf({ rule: "all", weightDecay, custwd: false }, "RepVGG-A0", "RepVGG").values(),
      ].map(String),
    );
    expect(groups).toEqual(new Set(["1,0.0001"]));
  });

  it("`dbb` leaves MobileNet's depthwise layers undecayed", () => {
    const settings = settingsOf({ rule: "dbb", weightDecay, custwd: false }, "MobileNet", "DBB");
    const depthwise = [...settings].filter(([name]) => name.includes("depthwise"));
    expect(depthwise.length).toBeGreaterThan(100);
    expect(depthwise.every(([, [, decay]]) => decay === 0)).toBe(true);
    expect(settings.get("linear.weight")).toEqual([1, weightDecay]);
  });

  it("`orepa` leaves priors undecayed, should one be trained", () => {
    const options = { rule: "orepa", weightDecay, custwd: false } as const;
    expect(of(options, "conv1.weight_orepa_prior").weightDecay).toBe(0);
    expect(of(options, "conv1.weight_orepa_origin").weightDecay).toBe(weightDecay);
  });

  it("the custom L2 cancels the decay of RepVGG's kernels under RepVGG's rule", () => {
    const options = { rule: "repvgg_repo", weightDecay, custwd: true } as const;
    expect(of(options, "stage1.0.rbr_dense.conv.weight").weightDecay).toBe(0);
    expect(of(options, "stage1.0.rbr_1x1.conv.weight").weightDecay).toBe(0);
    expect(of(options, "stage1.1.rbr_identity.weight", [4]).weightDecay).toBe(weightDecay);
    expect(of(options, "linear.weight", [10, 4]).weightDecay).toBe(weightDecay);
  });
});
