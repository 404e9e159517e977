// `repkit info`: one JSON document for machines, a table for people.

import { describe, expect, it } from "@jest/globals";

import { printGraph } from "../../src/graph/index.js";
import { buildModel } from "../../src/zoo/index.js";
import { repkit } from "../helpers/cli.js";
import { readModel } from "../helpers/fixtures.js";

/** The document of a command that must succeed quietly. */
function documentOf(...args: string[]): Record<string, unknown> {
  const { code, stdout, stderr } = repkit(...args);
  expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
  // JSON.parse refuses a second document, or anything else beside the first.
  return JSON.parse(stdout) as Record<string, unknown>;
}

describe("info --json", () => {
  it.each([
    ["orepa__ResNet-18__DBB", "train"],
    ["orepa__ResNet-18__DBB", "deploy"],
    ["repvgg__RepVGGplus-L2pse__RepVGGplus", "train"],
    ["repvgg__RepVGGplus-L2pse__RepVGGplus", "deploy"],
  ] as const)("%s, %s: the reference's state in order, and its parameter count", (name, mode) => {
    const reference = readModel(name);
    const { arch, block } = reference;
    const flags = mode === "deploy" ? ["--deploy"] : [];
    const document = documentOf("info", "-a", arch, "-t", block, ...flags, "--json");
    expect(Object.keys(document)).toEqual(["arch", "block", "mode", "params", "macs", "state"]);
    expect(document).toMatchObject({
      arch,
      block,
      mode,
      params: reference[`params_${mode}`],
      state: reference[`state_${mode}`],
    });
  });

  it.each([
    // Published counts: convolutions and the linear layer, per image of 224x224.
    [["-a", "ResNet-18", "-t", "base"], 11_689_512, 1_814_073_344],
    [["-a", "ResNet-50", "-t", "base"], 25_557_032, 4_089_184_256],
    [["-a", "ResNet-18", "-t", "DBB", "--deploy"], 11_684_712, 1_814_073_344],
  ])("%j: %i parameters, %i multiply-adds", (args, params, macs) => {
    expect(documentOf("info", ...args, "--json")).toMatchObject({ params, macs });
  });

  it("takes the number of classes and the image size, and the architecture's own block", () => {
    const args = ["--num-classes", "10", "--img-size", "96", "--json"];
    const document = documentOf("info", "-a", "RepVGG-A0", ...args);
    expect(document).toMatchObject({ arch: "RepVGG-A0", block: "RepVGG", mode: "train" });
    expect((document["state"] as unknown[]).slice(-2)).toEqual([
      ["linear.weight", [10, 1280], "param"],
      ["linear.bias", [10], "param"],
    ]);
  });
});

describe("info for people", () => {
  it.each([
    ["ResNet-18", "DBB", ["--num-classes", "10", "--img-size", "96"]],
    ["RepVGG-B3", "RepVGG", []],
    ["RepVGGplus-L2pse", "RepVGGplus", ["--deploy"]],
  ])(
    "%s x %s %j: a title, a table, a total, and no blanks at the ends of lines",
    (arch, block, flags) => {
      const { code, stdout, stderr } = repkit("info", "-a", arch, "-t", block, ...flags);
      expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
      const lines = stdout.split("\n");
      expect(lines.filter((line) => /\s$/.test(line))).toEqual([]);
      const structure = flags.includes("--deploy") ? "deploy" : "train";
      const [classes, size] = flags.includes("--num-classes") ? [10, 96] : [1000, 224];
      expect(lines[0]).toBe(
        `${arch} x ${block}, ${structure} structure, ${classes} classes, ${size}x${size} pixels`,
      );
      expect(lines[2]).toMatch(/^LAYER +BLOCK +CONVOLUTION +OUTPUT +PARAMS +MACS$/);
      expect(lines.at(-2)).toMatch(/^[\d.]+ [kMG] parameters, [\d.]+ [kMG] multiply-adds$/);
      expect(stdout.endsWith("\n")).toBe(true);
    },
  );

  it("the rows add up: ResNet-18 x DBB by hand for one block and the linear layer", () => {
    const { stdout } = repkit("info", "-a", "ResNet-18", "-t", "DBB");
    const row = (layer: string) =>
      stdout
        .split("\n")
        .find((line) => line.startsWith(`${layer} `))
        ?.split(/ {2,}/);
    // 3x3, 1x1, 1x1 and 1x1→3x3 of 64 channels, and six batch norms of 64.
    const params = 64 * 64 * (9 + 1 + 1 + 1 + 9) + 6 * 2 * 64;
    // The same kernels over 56x56 pixels; the second 3x3 of the sequence keeps that size too.
    const macs = 64 * 64 * (9 + 1 + 1 + 1 + 9) * 56 * 56;
    expect(row("stage1.0.conv1")).toEqual([
      ...["stage1.0.conv1", "DBB", "3x3 64→64", "(64,56,56)"],
      `${(params / 1e3).toFixed(2)} k`,
      `${(macs / 1e6).toFixed(2)} M`,
    ]);
    expect(row("linear")).toEqual(["linear", "(1000)", "513.00 k", "512.00 k"]);
  });

  it("--graph prints the graph", () => {
    const { code, stdout } = repkit("info", "-a", "MobileNet", "-t", "ACB", "--graph");
    const { graph } = buildModel({ arch: "MobileNet", block: "ACB" });
    expect({ code, stdout }).toEqual({ code: 0, stdout: printGraph(graph) });
  });
});
