// `repkit bench data` with worker threads.

import { expect, it } from "@jest/globals";

import { repkit } from "../helpers/cli.js";
import { temporaryTrees } from "../helpers/trees.js";

const newTree = temporaryTrees();

it("measures both transforms of a data set, and its figures agree with each other", () => {
  const data = newTree().at("data");
  expect(repkit("sample-data", data, "--classes", "2", "--train", "8", "--val", "4").code).toBe(0);
  const few = ["-j", "2", "-b", "4", "--img-size", "32", "--steps", "5", "--json"];
  for (const mode of ["train", "val"]) {
    const { code, stdout, stderr } = repkit("bench", "data", data, "--mode", mode, ...few);
    expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
    const document = JSON.parse(stdout) as Record<string, number> & { seconds: number[] };
    expect(document).toMatchObject({ work: "data", mode, threads: 2, images: 20, bad_images: 0 });
    expect(document["folder"]).toBe(`${data}/${mode}`);
    const total = document.seconds.reduce((sum, value) => sum + value, 0);
    expect(document["images_per_second"]).toBeCloseTo(20 / total, 6);
  }
});

it("refuses what does not go together in one line", () => {
  const refused = (...args: string[]) => {
    const { code, stdout, stderr } = repkit("bench", ...args);
    expect({ code, stdout }).toEqual({ code: 2, stdout: "" });
    return stderr;
  };
  expect(refused("data")).toBe(
    "error: bench data: expected the folder of the images, received none\n",
  );
  expect(refused("step", "d", "-a", "ResNet-18")).toBe(
    'error: bench step: takes no folder, received "d"\n',
  );
});
