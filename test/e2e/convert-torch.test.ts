// A converted .pth in PyTorch: it loads with weights_only, and computes what the trained network did.

import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { afterAll, describe, expect, it } from "@jest/globals";

import { interpret, type Graph, type StateSource } from "../../src/graph/index.js";
import { buildModel } from "../../src/zoo/index.js";
import { repkit } from "../helpers/cli.js";
import { writeFilled } from "../helpers/deployed.js";
import { numbers } from "../helpers/numbers.js";
import { runTorch, torch } from "../helpers/torch.js";

const folder = mkdtempSync(join(tmpdir(), "repkit-torch-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

/** The network as plain PyTorch modules, each loaded strictly with what the file has for it. */
const SCRIPT = `
import json, sys, torch
state = torch.load(sys.argv[1], weights_only=True)
task = json.load(open(sys.argv[2]))
x = torch.tensor(task["images"], dtype=torch.float32).reshape(task["shape"])
used, activations = [], []
def take(layer, name):
    used.extend([name + ".weight", name + ".bias"])
    layer.load_state_dict({"weight": state[name + ".weight"], "bias": state[name + ".bias"]})
    return layer
with torch.no_grad():
    for c in task["convolutions"]:
        out, inner, k, _ = state[c["name"] + ".weight"].shape
        conv = torch.nn.Conv2d(inner * c["groups"], out, k, c["stride"], c["padding"], groups=c["groups"])
        x = torch.relu(take(conv, c["name"])(x))
        activations.append(x)
    linear = torch.nn.Linear(x.shape[1], task["classes"])
    logits = take(linear, "linear")(x.mean((2, 3)))
first = activations[0]
print(json.dumps({"type": type(state).__name__, "unused": sorted(set(state) - set(used)),
    "first": {"shape": list(first.shape), "data": first.flatten().tolist()},
    "logits": {"shape": list(logits.shape), "data": logits.flatten().tolist()}}))
`;

interface Tensors {
  type: string;
  unused: string[];
  first: { shape: number[]; data: number[] };
  logits: { shape: number[]; data: number[] };
}

describe("PyTorch", () => {
  const test = torch.isThere ? it : it.skip;

  test(`computes the same from a converted .pth (${torch.what})`, () => {
    const options = { arch: "MobileNet", block: "DBB", numClasses: 4, imageSize: 48 };
    const { model, state } = writeFilled(join(folder, "trained.ckpt"), options);
    const file = join(folder, "deployed.pth");
    expect(repkit("convert", join(folder, "trained.ckpt"), file)).toMatchObject({ code: 0 });

    const images = numbers("images", [2, 3, 48, 48]);
    const deployed = buildModel({ ...model, structure: "deploy" }).graph;
    const convolutions = deployed.nodes.flatMap(({ op, inputs }) => {
      if (op.kind !== "conv2d") return [];
      const weight = deployed.nodes[inputs[1]!]!.name;
      const { stride, padding, groups } = op;
      const name = weight.slice(0, -".weight".length);
      return [{ name, stride, padding: [padding[0], padding[1]], groups }];
    });
    const task = join(folder, "task.json");
    const { shape, data } = images;
    writeFileSync(task, JSON.stringify({ images: [...data], shape, convolutions, classes: 4 }));

    const found = runTorch(SCRIPT, file, task) as Tensors;
    expect({ type: found.type, unused: found.unused }).toEqual({ type: "OrderedDict", unused: [] });
    const expected = outputs(model.graph, state);
    expect(asTensor(found.first)).toBeCloseToTensor(expected.get("first")!, { relative: 1e-6 });
    expect(asTensor(found.logits)).toBeCloseToTensor(expected.get("logits")!, { relative: 1e-5 });

    /** The trained network's, in float64: the first block after its activation, and the logits. */
    function outputs(graph: Graph, weights: StateSource) {
      const first = graph.nodes.find(({ op }) => op.kind === "relu")!.id;
      const wanted = { ...graph, outputs: [...graph.outputs, { name: "first", value: first }] };
      return interpret(wanted, weights, images, { mode: "infer" }).outputs;
    }
  }, 60_000);
});

function asTensor({ shape, data }: Tensors["first"]) {
  return { shape, data: Float64Array.from(data) };
}
