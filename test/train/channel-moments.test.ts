// Moments of channels over images: in pieces as if in one, of no more images than asked for.

import { describe, expect, it } from "@jest/globals";

import type { Executable } from "../../src/engine/types.js";
import type { Graph, Node, Tensor } from "../../src/graph/index.js";
import { channelMoments } from "../../src/train/channel-moments.js";
import { convNamed } from "../helpers/folding.js";
import { graphOf } from "../helpers/graphs.js";
import { numbers } from "../helpers/numbers.js";

const CHANNELS = 3;
const SIZE = 4;
const AREA = SIZE * SIZE;
/** Of one image's value, in float32. */
const BYTES = 4 * CHANNELS * AREA;

/** Three nodes of 3 channels of 4 x 4 pixels. */
const graph: Graph = graphOf((scope) =>
  ["a", "b", "c"].reduce(
    (x, name) => convNamed(scope, name, x, { out: CHANNELS, padding: 1 }),
    scope.input([CHANNELS, SIZE, SIZE]),
  ),
);
const NODES = graph.nodes.filter(({ op }) => op.kind === "conv2d");

/** What the nodes compute: the image's numbers, times one more and a thousand higher for each node. */
const valueAt = (x: number, position: number) => x * (position + 1) + 1000 * position;

function executable(): { runs: [number, number][] } & Pick<Executable, "infer"> {
  const runs: [number, number][] = [];
  return {
    runs,
    infer: async (images, { values = [] } = {}) => {
      await Promise.resolve();
      runs.push([images.shape[0]!, values.length]);
      const of = (id: number): [number, Tensor] => {
        const position = NODES.findIndex((node) => node.id === id);
        const data = Float64Array.from(images.data as Float64Array, (x) => valueAt(x, position));
        return [id, { shape: images.shape, data }];
      };
      return { outputs: new Map(), values: new Map(values.map(of)) };
    },
  };
}

/** Batches of these sizes, and a record of what is done to them. */
function source(sizes: readonly number[]) {
  const log: string[] = [];
  async function* batches() {
    try {
      for (const [index, size] of sizes.entries()) {
        log.push(`take ${index}`);
        await Promise.resolve();
        yield { images: batchOf(index, size), release: () => void log.push(`release ${index}`) };
      }
    } finally {
      log.push("end");
    }
  }
  return { batches: batches(), log };
}

const batchOf = (index: number, size: number) =>
  numbers(`batch ${index}`, [size, CHANNELS, SIZE, SIZE]);

/** Mean and variance of each channel of a node, from all of its values. */
function direct(position: number, images: readonly Tensor[]) {
  const values: number[][] = Array.from({ length: CHANNELS }, () => []);
  for (const { data } of images) {
    for (const [i, x] of (data as Float64Array).entries()) {
      values[Math.floor(i / AREA) % CHANNELS]!.push(valueAt(x, position));
    }
  }
  const average = (all: readonly number[]) => all.reduce((sum, x) => sum + x, 0) / all.length;
  const mean = Float64Array.from(values, average);
  const variance = Float64Array.from(values, (all, c) =>
    average(all.map((x) => (x - mean[c]!) ** 2)),
  );
  const shape = [CHANNELS];
  return { mean: { shape, data: mean }, variance: { shape, data: variance } };
}

async function expectMoments(
  options: { sizes: readonly number[]; images: number; heldBytes: number; nodes?: readonly Node[] },
  used: readonly Tensor[],
) {
  const { sizes, images, heldBytes, nodes = NODES } = options;
  const engine = executable();
  const { batches, log } = source(sizes);
  const progress: number[] = [];
  const onProgress = (count: number) => void progress.push(count);
  const measured = await channelMoments(engine, nodes, { batches, images, heldBytes, onProgress });
  expect(measured.images).toBe(used.reduce((sum, { shape }) => sum + shape[0]!, 0));
  for (const [index, node] of nodes.entries()) {
    const expected = direct(NODES.indexOf(node), used);
    const { mean, variance } = measured.moments[index]!;
    const shape = [CHANNELS];
    expect({ shape, data: mean }).toBeCloseToTensor(expected.mean, { relative: 1e-13 });
    // Beside a mean of 2000 a sum of squares would be right to 1e-10 at best.
    expect({ shape, data: variance }).toBeCloseToTensor(expected.variance, { relative: 2e-12 });
  }
  return { log, progress, runs: engine.runs };
}

describe("moments of channels", () => {
  const sizes = [3, 1, 2];
  const all = sizes.map((size, index) => batchOf(index, size));

  it("are those of all images together, each as often as it has pixels", async () => {
    const { log, progress, runs } = await expectMoments({ sizes, images: 9, heldBytes: 1e6 }, all);
    expect(runs).toEqual(sizes.map((size) => [size, 3]));
    expect(progress).toEqual([3, 4, 6]);
    const each = sizes.flatMap((_, index) => [`take ${index}`, `release ${index}`]);
    expect(log).toEqual([...each, "end"]);
  });

  it("are of no more images than asked for: the last batch in part, and none after it", async () => {
    const { shape, data } = all[0]!;
    const part = { shape: [2, ...shape.slice(1)], data: data.slice(0, (2 * data.length) / 3) };
    const { log, progress } = await expectMoments({ sizes, images: 2, heldBytes: 1e6 }, [part]);
    expect(progress).toEqual([2]);
    expect(log).toEqual(["take 0", "release 0", "end"]);
  });

  it.each([
    [
      "two images of all nodes",
      6 * BYTES,
      [
        [2, 3],
        [1, 3],
      ],
    ],
    [
      "nearly two images of all nodes",
      6 * BYTES - 1,
      [
        [1, 3],
        [1, 3],
        [1, 3],
      ],
    ],
    [
      "nearly one image of all nodes",
      3 * BYTES - 1,
      [1, 1, 1].flatMap(() => [
        [1, 2],
        [1, 1],
      ]),
    ],
    ["less than one value", 1, Array.from({ length: 9 }, () => [1, 1])],
  ])("are the same where memory is for %s", async (_, heldBytes, expected) => {
    const { runs } = await expectMoments({ sizes: [3], images: 3, heldBytes }, all.slice(0, 1));
    expect(runs).toEqual(expected);
  });

  it("are in the order of the nodes that are asked for", async () => {
    const nodes = [NODES[2]!, NODES[0]!];
    await expectMoments({ sizes, images: 9, heldBytes: 1e6, nodes }, all);
  });

  it("are of nothing without images", async () => {
    const { batches } = source([]);
    const options = { batches, images: 9, heldBytes: 1e6 };
    const { images, moments } = await channelMoments(executable(), NODES, options);
    expect([images, moments.length]).toEqual([0, NODES.length]);
  });

  it("give batches back when the engine fails", async () => {
    const { batches, log } = source(sizes);
    const engine = { infer: () => Promise.reject(new Error("no memory")) };
    const measuring = channelMoments(engine, NODES, { batches, images: 9, heldBytes: 1e6 });
    await expect(measuring).rejects.toThrow("no memory");
    expect(log).toEqual(["take 0", "release 0", "end"]);
  });
});
