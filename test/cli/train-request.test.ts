// The flags of `repkit train`, as commander gives them and as settings.

import { describe, expect, it } from "@jest/globals";
import { Command, Option } from "commander";

import { trainOptions } from "../../src/cli/commands/train-options.js";
import { trainRequest, type TrainRequest } from "../../src/cli/commands/train-request.js";
import { SETTINGS } from "../../src/train/recipe-schema.js";

const COMMON = ["engine", "device", "precision", "threads", "seed"];

/** `train` with the flags that every command has. */
function trainCommand(): Command {
  const command = new Command("train")
    .exitOverride()
    .configureOutput({ writeErr: () => undefined })
    .addOption(new Option("--json"))
    .addOption(new Option("--engine <name>").default("auto"))
    .addOption(new Option("--device <name>"))
    .addOption(new Option("--precision <name>").default("fp32"))
    .addOption(new Option("--threads <n>").argParser(Number))
    .addOption(new Option("--seed <n>").argParser(Number).default(0));
  return trainOptions(command);
}

function request(line: string): TrainRequest {
  const command = trainCommand();
  command.parse(line === "" ? [] : line.split(" "), { from: "user" });
  return trainRequest(command.args[0], command);
}

describe("flags", () => {
  it("know every setting that fits into one value, by its name", () => {
    const names = trainCommand().options.map((option) => option.name());
    const known = [...names, "lr"].filter((name) => Object.hasOwn(SETTINGS, name));
    const expected = Object.keys(SETTINGS).filter((name) => name !== "color-jitter");
    expect(known.sort()).toEqual(expected.sort());
    const others = names.filter((name) => !known.includes(name) && !name.startsWith("no-"));
    expect(others.sort()).toEqual(["config", "evaluate", "json", "learning-rate", "resume"]);
  });

  it("say nothing that was not said", () => {
    expect(request("")).toEqual({
      config: undefined,
      flags: {},
      resume: undefined,
      evaluate: false,
    });
  });

  it("become settings", () => {
    const line =
      "data -a ResNet-18 -t DBB -j 4 -b 64 -p 5 -e --resume auto --config a.yaml --wd 1e-4";
    expect(request(`${line} --custwd --no-nesterov --seed 3 --json`)).toEqual({
      config: "a.yaml",
      resume: "auto",
      evaluate: true,
      flags: {
        ...{ data: "data", arch: "ResNet-18", blocktype: "DBB", workers: 4, "batch-size": 64 },
        ...{ "print-freq": 5, "weight-decay": 1e-4, custwd: true, nesterov: false, seed: 3 },
      },
    });
  });

  it.each([
    ["--lr 0.05", { lr: 0.05 }],
    ["--learning-rate .5", { lr: 0.5 }],
    ["--weight-decay 0", { "weight-decay": 0 }],
    ["--engine torch", { engine: "torch" }],
    ["--data d", { data: "d" }],
    ["d --data d", { data: "d" }],
    ["--tag 7", { tag: "7" }],
    ["--nesterov --no-nesterov", { nesterov: false }],
    ["--no-nesterov --nesterov", { nesterov: true }],
  ])("%s", (line, flags) => {
    expect(request(line).flags).toEqual(flags);
  });

  it("take the reference's command", () => {
    const line =
      "-a ResNet-18 -t DBB --dist-url tcp://127.0.0.1:23333 --dist-backend nccl " +
      "--multiprocessing-distributed --world-size 1 --rank 0 --workers 64 IMGNET_PATH";
    expect(request(line).flags).toEqual({
      ...{ arch: "ResNet-18", blocktype: "DBB", data: "IMGNET_PATH", workers: 64 },
      ...{ "dist-url": "tcp://127.0.0.1:23333", "dist-backend": "nccl" },
      ...{ "multiprocessing-distributed": true, "world-size": 1, rank: 0 },
    });
  });

  it.each([
    ["--lr 0", "--learning-rate: expected a number above 0; received 0"],
    ["--epochs 0x10", '--epochs: expected a whole number from 1; received "0x10"'],
    ["--epochs 1e999", "--epochs: expected a whole number from 1; received Infinity"],
    ["--seed -1", "--seed: expected a whole number from 0; received -1"],
    ["--aug storng", '--aug: unknown value "storng"; did you mean "strong"?'],
    ["--rand-augment x", "--rand-augment: "],
    [
      "--lr 0 --epochs 0",
      "--epochs: expected a whole number from 1; received 0; --learning-rate: ",
    ],
    ["a --data b", 'DATA is "a" and --data says otherwise: leave out one'],
    ["--resume a.ckpt --pretrained b.pth", "--resume and --pretrained: the checkpoint says where"],
    ["--resume a.ckpt --start-epoch 3", "--resume and --start-epoch: the checkpoint says where"],
  ])("%s is refused", (line, message) => {
    expect(() => request(line)).toThrow(message);
  });

  it.each([
    [
      "--labelsmoothing 0.1",
      "unknown option '--labelsmoothing'\n(Did you mean --label-smoothing?)",
    ],
    ["a b", "too many arguments"],
    ["--lr", "argument missing"],
  ])("%s is no command line", (line, message) => {
    expect(() => request(line)).toThrow(message);
  });

  it("may be resumed automatically and start from weights", () => {
    expect(request("--resume auto --pretrained b.pth").flags).toEqual({ pretrained: "b.pth" });
  });
});

it("the flags of every command that are settings stay out of train's own", () => {
  const own = trainOptions(new Command()).options.map((option) => option.name());
  expect(own.filter((name) => COMMON.includes(name))).toEqual([]);
});
