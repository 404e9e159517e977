// One of several processes that train a model without batch norms: its losses and weights do not depend
// on how many there are. Runs the build in dist/. Prints one JSON document; the leader's has the weights.
//
//   node train-deployed.js RANK WORLD_SIZE URL DATA STEPS

import { createHash } from "node:crypto";

/** @type {(name: string) => Promise<unknown>} */
const built = (name) => import(new URL(`../../dist/${name}`, import.meta.url).href);
const { Loader, openDataset, RANDOM_RESIZED_CROP } =
  /** @type {typeof import("../../src/data/index.js")} */ (await built("data/index.js"));
const { chooseEngine } = /** @type {typeof import("../../src/engine/index.js")} */ (
  await built("engine/index.js")
);
const { initialState } = /** @type {typeof import("../../src/graph/index.js")} */ (
  await built("graph/index.js")
);
const { trainingData } = /** @type {typeof import("../../src/train/data.js")} */ (
  await built("train/data.js")
);
const { ALONE, inTeam } = /** @type {typeof import("../../src/train/distributed/team.js")} */ (
  await built("train/distributed/team.js")
);
const { beginning } = /** @type {typeof import("../../src/train/progress.js")} */ (
  await built("train/progress.js")
);
const { SILENT_OBSERVER } = /** @type {typeof import("../../src/train/run/index.js")} */ (
  await built("train/run/index.js")
);
const { runTraining } = /** @type {typeof import("../../src/train/trainer.js")} */ (
  await built("train/trainer.js")
);
const { buildModel } = /** @type {typeof import("../../src/zoo/index.js")} */ (
  await built("zoo/index.js")
);

const [rank = 0, worldSize = 1] = process.argv.slice(2, 4).map(Number);
const [url = "", data = "", steps = "1"] = process.argv.slice(4);
const stop = new AbortController().signal;

/** @param {import("../../src/train/index.js").Team} team */
async function work(team) {
  const model = buildModel({
    ...{ arch: "MobileNet", block: "base", structure: "deploy", numClasses: 4, imageSize: 32 },
  });
  const engine = await chooseEngine("torch");
  const folder = await openDataset(data, "train");
  const loader = new Loader({
    ...{ folder, batchSize: 32, shuffle: true, workers: 0, seed: 3, rank, worldSize },
    view: { kind: "training", size: 32, ...RANDOM_RESIZED_CROP, augment: {} },
  });
  await team.meet("load");
  // Others than the leader begin with other weights, which are replaced.
  const executable = await engine.load(model.graph, initialState(model.graph, 7 + rank), {
    ...{ threads: 1, checkFinite: true, training: { momentum: 0.9 } },
    ...(team.group === undefined ? {} : { group: team.group }),
  });
  /** @type {number[]} */
  const losses = [];
  await runTraining(
    {
      config: {
        ...{ epochs: 100, lr: 0.02, schedule: { decline: { kind: "constant" }, warmup: null } },
        ...{ maxSteps: Number(steps), printFreq: 1, saveEverySteps: null, keep: 0 },
        onBadImage: "fail",
      },
      identity: { model, classNames: undefined, config: {}, stepsPerEpoch: loader.batches },
      ...{ team, executable, averaged: undefined, validation: undefined, files: undefined },
      data: trainingData(loader, 4),
      start: beginning(loader.batches, 0),
      observer: { ...SILENT_OBSERVER, step: ({ loss }) => losses.push(loss) },
    },
    stop,
  );
  const { state, momentum } = await executable.state();
  const tensors = [...state, ...momentum].map(([, tensor]) => tensor.data);
  const hash = createHash("sha1");
  for (const values of tensors) hash.update(new Uint8Array(values.buffer.slice(0)));
  await executable.dispose();
  await loader.close();
  return {
    losses,
    hash: hash.digest("hex"),
    weights: tensors.flatMap((values) => Array.from(values, Number)),
  };
}

const place = {
  ...{ rank, worldSize, localRank: rank, localSize: worldSize, url },
  ...{ backend: /** @type {const} */ ("gloo"), timeoutSeconds: 60 },
};
const result =
  worldSize === 1
    ? await work(ALONE)
    : await inTeam({ engine: await chooseEngine("torch"), place, stop }, work);
const { weights: _weights, ...rest } = result;
process.stdout.write(`${JSON.stringify(rank > 0 ? rest : result)}\n`);
