// What is completed, whatever the shell.

import { readdirSync } from "node:fs";

import { describe, expect, it } from "@jest/globals";

import { completionTree, OWN_RECIPES } from "../../src/cli/completion/tree.js";
import { program } from "../../src/cli/program.js";

const tree = completionTree(program());

describe("what is completed", () => {
  it("repkit's own recipes are those of configs/", () => {
    const files = readdirSync(new URL("../../configs/", import.meta.url));
    const recipes = files.filter((name) => name.endsWith(".yaml")).map((name) => name.slice(0, -5));
    expect([...OWN_RECIPES].sort()).toEqual(recipes.sort());
  });

  it("a setting of training that is one of a few names has them", () => {
    const train = tree.find(({ name }) => name === "train")!;
    const namesOf = (flag: string) =>
      train.flags.find(({ names }) => names.includes(flag))?.values?.names;
    expect(namesOf("--schedule")).toEqual(["cosine", "step", "constant"]);
    expect(namesOf("--dist-backend")).toEqual(["gloo", "nccl"]);
    expect(namesOf("--learning-rate")).toEqual([]);
  });

  it("no name needs quoting in a shell", () => {
    const names = tree.flatMap(({ name, flags, places }) => [
      name,
      ...flags.flatMap(({ names, values }) => [...names, ...(values?.names ?? [])]),
      ...places.flatMap((values) => values.names),
    ]);
    expect(names.filter((name) => !/^[\w.:-]+$/.test(name))).toEqual([]);
  });
});
