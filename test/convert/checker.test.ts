// Checking groups as they come: each as it would be by itself, both networks on the way, and tensors given back
// as soon as nothing needs them any more, but no sooner.

import { beforeAll, describe, expect, it } from "@jest/globals";

import { Checker } from "../../src/convert/checker.js";
import { checkJob, foldGroups } from "../../src/convert/folding.js";
import { FollowingRun } from "../../src/convert/following-run.js";
import { GroupFolder, tensorsOf } from "../../src/convert/groups.js";
import { longestVerification } from "../../src/convert/verification.js";
import {
  GraphBuilder,
  parametersOf,
  type State,
  type StateSource,
  type Tensor,
  type Value,
} from "../../src/graph/index.js";
import {
  checkGroup,
  type FoldedGraph,
  foldGraph,
  GROUP_TOLERANCE,
  materialise,
} from "../../src/reparam/index.js";
import { takeMemory } from "../../src/util/spare-memory.js";
import { buildModel, type Model } from "../../src/zoo/index.js";
import { expectSameState } from "../checkpoint/models.js";
import { deployedState, filledModel } from "../helpers/deployed.js";
import { convNamed, normNamed, randomState } from "../helpers/folding.js";
import { weight } from "../helpers/graphs.js";
import { networkLogits } from "../helpers/network-logits.js";

// Branches of all kinds; and gates and auxiliary heads beside the groups.
describe.each([
  ["MobileNet", "DBB"],
  ["RepVGGplus-L2pse", "RepVGGplus"],
])("%s x %s", (arch, block) => {
  let model: Model;
  let state: State;
  let deployed: Model;
  let folded: FoldedGraph;
  let after: State;
  let written: Map<string, Tensor>;
  let checked: NonNullable<Awaited<ReturnType<typeof foldGroups>>["checked"]>;
  const progress: [number, number][] = [];

  beforeAll(async () => {
    ({ model, state } = filledModel({ arch, block, numClasses: 3 }));
    deployed = buildModel({ ...model, structure: "deploy" });
    folded = foldGraph(model.graph, {
      outputs: deployed.graph.outputs.map(({ name }) => name),
    });
    after = deployedState(model, state);
    written = new Map();
    const folding = await foldGroups({
      ...{ original: model.graph, folded, deployed: deployed.graph, state, verify: true },
      write: (name, { shape, data }) => {
        expect(written.has(name)).toBe(false);
        written.set(name, { shape, data: data.slice() });
      },
      onProgress: (done, total) => progress.push([done, total]),
    });
    checked = folding.checked!;
  }, 60_000);

  it("every tensor of the deployed model is written once, as it is folded at once", () => {
    expect(new Set(written.keys())).toEqual(
      new Set(parametersOf(deployed.graph).map(({ name }) => name)),
    );
    expectSameState(written, after);
  });

  it("progress is counted to the end", () => {
    const total = folded.groups.length;
    expect(progress).toEqual(Array.from({ length: total }, (_, i) => [i + 1, total]));
  });

  it("each group is as it is by itself", () => {
    const folder = new GroupFolder(model.graph, folded, state);
    expect(checked.results.map(({ index }) => index).sort((a, b) => a - b)).toEqual([
      ...folded.groups.keys(),
    ]);
    for (const { index, check } of checked.results) {
      const { made } = folder.fold(index);
      const [weight, bias] = [...made.values()];
      const { replaced } = folded.groups[index]!;
      const { op: conv } = folder.convolutions[index]!;
      const alone = checkGroup(model.graph, state, { replaced, conv, weight: weight!, bias });
      expect(check).toEqual(alone);
    }
  });

  it("both networks' logits are those of whole runs", () => {
    expect(checked.logits.before).toEqual(networkLogits(model.graph, state));
    expect(checked.logits.after).toEqual(networkLogits(deployed.graph, after));
  });

  it.each(["in order", "backwards"])("tensors given back are not read again: %s", (way) => {
    const folder = new GroupFolder(model.graph, folded, state);
    const graphs = { original: model.graph, folded, deployed: deployed.graph, state };
    const job = checkJob(graphs, folder, folder.others());
    const checker = new Checker(job);
    expect(() => checker.logits()).toThrow("the network's check waits for");
    let [open, most] = [0, 0];
    const order = [...folded.groups.keys()];
    for (const index of way === "in order" ? order : order.reverse()) {
      const group = folder.fold(index);
      const own = {
        ...group,
        source: new Map(Array.from(group.source, ([name, tensor]) => [name, copy(tensor)])),
      };
      const { done } = checker.check(own);
      for (const tensor of done.flatMap(tensorsOf)) {
        if (tensor.data instanceof BigInt64Array) tensor.data.fill(-1n);
        else tensor.data.fill(NaN);
      }
      open += 1 - done.length;
      most = Math.max(most, open);
    }
    expect(checker.logits()).toEqual(checked.logits);
    expect(open).toBe(0);
    // In order no more than a block's.
    expect(most < 8).toBe(way === "in order");
  });
});

function copy({ shape, data }: Tensor): Tensor {
  return { shape, data: data.slice() };
}

describe("a parameter that two groups read", () => {
  it("is read for each of them, and its memory is nobody's to give back", async () => {
    const scope = new GraphBuilder().root();
    const channels = 64;
    const shared = weight(scope, "shared", [channels, channels, 3, 3]);
    const step = (name: string, x: Value, kernel?: Value) => {
      const geometry = { out: channels, padding: 1 };
      const sum = kernel
        ? scope.conv2d(x, kernel, undefined, geometry)
        : convNamed(scope, name, x, geometry);
      return scope.relu(normNamed(scope, `${name}.bn`, sum));
    };
    let x = step("stem", scope.input([3, 32, 32]));
    x = step("first", x, shared);
    // Of the same size: their tensors would take the memory.
    for (const name of ["a", "b", "c", "d"]) x = step(name, x);
    x = step("last", x, shared);
    const graph = scope.builder.build({ logits: scope.flatten(scope.globalAvgPool(x)) });
    const state = randomState(graph);
    const folded = foldGraph(graph);
    expect(folded.groups).toHaveLength(7);
    const { graph: deployed } = materialise(graph, folded.graph, folded.groups);

    const read: StateSource = {
      get(name) {
        const { shape, data } = state.get(name)!;
        const own = new Float32Array(takeMemory(4 * data.length).buffer, 0, data.length);
        own.set(Float32Array.from(data, Number));
        return { shape, data: own };
      },
    };
    const written = new Map<string, Tensor>();
    const { checked } = await foldGroups({
      ...{ original: graph, folded, deployed, state: read, verify: true },
      write: (name, tensor) => written.set(name, copy(tensor)),
    });
    expect(checked!.logits.before).toEqual(networkLogits(graph, read));
    expect(checked!.logits.after).toEqual(networkLogits(deployed, written));
    for (const { check } of checked!.results) expect(check.share).toBeLessThan(GROUP_TOLERANCE / 4);
  });
});

describe("nothing to fold", () => {
  it("is checked all the same", async () => {
    const scope = new GraphBuilder().root();
    const x = scope.globalAvgPool(scope.relu(scope.input([3, 32, 32])));
    const graph = scope.builder.build({ logits: scope.flatten(x) });
    const folded = foldGraph(graph);
    expect(folded.groups).toEqual([]);
    const { checked } = await foldGroups({
      ...{ original: graph, folded, deployed: graph, state: new Map(), verify: true },
      write: () => undefined,
    });
    expect(checked).toEqual({
      results: [],
      logits: {
        before: networkLogits(graph, new Map()),
        after: networkLogits(graph, new Map()),
      },
    });
  });
});

describe("a run that follows", () => {
  it("goes no further than there are tensors", () => {
    const { model, state } = filledModel({ arch: "MobileNet", block: "base", numClasses: 3 });
    const names = parametersOf(model.graph).map(({ name }) => name);
    const run = new FollowingRun(model.graph, names, new Map());
    const last = model.graph.nodes.length - 1;
    for (const name of names) {
      expect(run.hasPassed(last)).toBe(false);
      run.offer(new Map([[name, state.get(name)!]]));
    }
    expect(run.hasPassed(last)).toBe(true);
    expect(run.logits()).toEqual(networkLogits(model.graph, state));
  });
});

describe("the longest verification", () => {
  it("is as long as any in JSON", () => {
    const { graph } = buildModel({ arch: "ResNet-50", block: "DBB", structure: "deploy" });
    const longest = JSON.stringify(longestVerification(graph));
    const worst = parametersOf(graph).reduce(
      (name, each) => (each.name.length > name.length ? each.name : name),
      "",
    );
    for (const number of [0, 1e-5, Number.MIN_VALUE, -Number.MAX_VALUE, Math.PI / 1e8]) {
      const one = { worst, worst_diff: number, tolerance: number, logits_diff: number };
      const written = JSON.stringify({ ...one, logits_tolerance: number });
      expect(written.length).toBeLessThanOrEqual(longest.length);
    }
  });
});
