// What scripts/bench-vs-pytorch.js measures against: the same model as the reference's, and a process
// that answers or fails.

import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

import { afterAll, describe, expect, test } from "@jest/globals";

import { PyTorch } from "../../scripts/pytorch-peer.js";
import { randomBatch } from "../../src/bench/index.js";
import { saveCheckpoint } from "../../src/checkpoint/index.js";
import { graphToJson, initialState, parameterCount } from "../../src/graph/index.js";
import { buildModel } from "../../src/zoo/index.js";
import { fillInput, filledState } from "../helpers/fill.js";
import { readModel } from "../helpers/fixtures.js";
import { python, runTorch, torch } from "../helpers/torch.js";

const TIMEOUT = 120_000;
const folder = mkdtempSync(join(tmpdir(), "repkit-peer-"));
const file = (name: string) => join(folder, name);
afterAll(() => {
  rmSync(folder, { recursive: true });
});
const it = torch.isThere ? test : test.skip;

/** Prints the training loss in NCHW and in channels_last. */
const LOSSES = `
import sys
sys.dont_write_bytecode = True
sys.path.insert(0, sys.argv[1])
import json, numpy, torch
from pytorch_model import Model

losses = []
for layout in (torch.contiguous_format, torch.channels_last):
    model = Model(sys.argv[2], guard_strided_1x1=layout is torch.channels_last)
    model.load_state_dict(torch.load(sys.argv[3]))
    model.to(memory_format=layout)
    images = torch.from_numpy(numpy.fromfile(sys.argv[4], dtype=numpy.float32)).view(4, 3, 64, 64)
    labels = torch.tensor(json.loads(sys.argv[5]))
    logits = model.train()(images.contiguous(memory_format=layout))[0]
    losses.append(torch.nn.functional.cross_entropy(logits, labels).item())
print(json.dumps(losses))
`;

describe(`the training loss is the reference's (${torch.what})`, () => {
  it.each([
    "dbb__ResNet-18__DBB",
    "dbb__MobileNet__DBB",
    "orepa__ResNet-18__OREPA",
    "orepa__RepVGG-A0__OREPA_VGG",
    "repvgg__RepVGG-A0__RepVGG",
  ])(
    "%s",
    (name) => {
      const { arch, block, train } = readModel(name);
      const model = buildModel({ arch, block, imageSize: 64 });
      writeFileSync(file("graph.json"), graphToJson(model.graph));
      saveCheckpoint(file("state.pth"), { model, state: filledState(model.graph) });
      writeFileSync(file("images.bin"), fillInput("train_input", [4, 3, 64, 64]).data);
      const scripts = fileURLToPath(new URL("../../scripts", import.meta.url));
      const files = ["graph.json", "state.pth", "images.bin"].map(file);
      const labels = JSON.stringify(train!.labels);
      const losses = runTorch(LOSSES, scripts, ...files, labels) as number[];
      const errors = losses.map((loss) => Math.abs(loss / train!.loss_f64 - 1));
      expect(errors[0]).toBeLessThan(1e-5);
      // PyTorch adds up the statistics of channels_last batches less exactly.
      expect(errors[1]).toBeLessThan(1e-4);
    },
    TIMEOUT,
  );
});

describe(`the PyTorch process (${torch.what})`, () => {
  it(
    "loads a model, takes steps, and names what it cannot do",
    async () => {
      const model = buildModel({ arch: "MobileNet", block: "base", numClasses: 10, imageSize: 32 });
      const batch = randomBatch({ size: 4, imageSize: 32, numClasses: 10 }, 0);
      writeFileSync(file("graph.json"), graphToJson(model.graph));
      saveCheckpoint(file("state.pth"), { model, state: initialState(model.graph, 0) });
      writeFileSync(file("images.bin"), batch.images.data);
      const request = {
        ...{ do: "load", key: "a", layout: "nchw", precision: "fp32", mode: "step", lr: 0.01 },
        ...{ graph: file("graph.json"), state: file("state.pth"), images: file("images.bin") },
        ...{ shape: batch.images.shape, labels: [...batch.labels] },
      };
      const peer = new PyTorch(python, 1);
      try {
        expect(await peer.ask({ do: "about" })).toMatchObject({ threads: 1 });
        expect(await peer.ask(request)).toEqual({ parameters: parameterCount(model.graph) });
        const { seconds, losses } = await peer.ask({ do: "run", key: "a", times: 4 });
        expect(seconds).toHaveLength(4);
        const [first, , , last] = losses as number[];
        expect(last).toBeLessThan(first!);
        await expect(peer.ask({ do: "run", key: "b", times: 1 })).rejects.toThrow("KeyError: 'b'");
        expect(await peer.ask({ do: "about" })).toMatchObject({ threads: 1 });
      } finally {
        await peer.stop();
      }
    },
    TIMEOUT,
  );
});

test.each(["/nonexistent/python3", "/bin/false"])("%s is an error, not a wait", async (path) => {
  const peer = new PyTorch(path, 1);
  await expect(peer.ask({ do: "about" })).rejects.toThrow("PyTorch stopped");
  await peer.stop();
});
