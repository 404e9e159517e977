// The float64 interpreter behind the interface of engines: slow, without gradients, and by
// definition right. Conformance suites can be tried on it, and other engines compared with it.

import { checkImages, checkLabels } from "../../src/engine/checks.js";
import type {
  Differentiation,
  Engine,
  Executable,
  Inference,
  LoadOptions,
} from "../../src/engine/types.js";
import { RepkitError, usageError } from "../../src/errors.js";
import {
  formatShape,
  type Float64Tensor,
  type Graph,
  type Images,
  interpret,
  parametersOf,
  sameShape,
  type State,
  type StateSource,
} from "../../src/graph/index.js";
import { crossEntropy, hits } from "./cross-entropy.js";

export const interpreterEngine: Engine = {
  name: "interpreter",
  description: "the float64 interpreter of src/graph",

  devices: ["cpu"],
  async load(graph, state, options: LoadOptions = {}) {
    const { precision = "fp32", device = "cpu" } = options;
    if (precision !== "fp64") throw usageError(`precision ${precision}: only fp64 here`);
    if (device !== "cpu") throw new RepkitError("environment", `device ${device}: only a CPU here`);
    return executable(graph, copyOf(graph, state));
  },
};

function executable(graph: Graph, initial: State): Executable {
  let state = initial;
  let isDisposed = false;
  let last: Promise<unknown> = Promise.resolve();

  /** Runs after the calls before it, each in a turn of its own. */
  const queued = <T>(run: () => T): Promise<T> => {
    const result = last.then(async () => {
      await new Promise((resolve) => setImmediate(resolve));
      if (isDisposed) throw usageError("the executable was disposed of");
      return run();
    });
    last = result.catch(() => undefined);
    return result;
  };

  const infer = (images: Images, values: readonly number[] = []): Inference => {
    checkImages(graph, images);
    const stranger = values.find((id) => graph.nodes[id] === undefined);
    if (stranger !== undefined) throw usageError(`no node ${stranger}`);
    const wanted = values.map((value) => ({ name: `value ${value}`, value }));
    const widened = { nodes: graph.nodes, outputs: [...graph.outputs, ...wanted] };
    const { outputs } = interpret(widened, state, images, { mode: "infer" });
    const of = (name: string) => outputs.get(name)!;
    return {
      outputs: new Map(graph.outputs.map(({ name }) => [name, of(name)])),
      values: new Map(wanted.map(({ name, value }) => [value, of(name)])),
    };
  };

  return {
    infer: (images, options) => queued(() => infer(images, options?.values)),
    evaluate: ({ images, labels }) =>
      queued(() => {
        checkLabels(graph, labels, checkImages(graph, images));
        const logits = infer(images).outputs.get(graph.outputs[0]!.name)!;
        const classes = labels as Int32Array;
        return {
          loss: crossEntropy(logits, labels),
          top1: hits(logits, classes, 1),
          top5: hits(logits, classes, 5),
        };
      }),
    differentiate: (images, objective) =>
      queued((): Differentiation => {
        if (images === undefined && "output" in objective) {
          return withoutGradients(graph, state, objective.output);
        }
        const count = checkImages(graph, images!);
        if ("labels" in objective) checkLabels(graph, objective.labels, count);
        const { outputs, updates } = interpret(graph, state, images, { mode: "train" });
        const logits = outputs.get(graph.outputs[0]!.name)!;
        const loss =
          "labels" in objective
            ? crossEntropy(logits, objective.labels)
            : "output" in objective
              ? scalarOf(outputs, objective.output)
              : undefined;
        return { outputs, loss, gradients: new Map(), imageGradient: undefined, updates };
      }),
    trainStep: () =>
      queued(() => {
        throw usageError("the interpreter has no gradients to train by");
      }),
    state: () =>
      queued(() => ({ state: copyOf(graph, state), momentum: new Map(), ema: undefined })),
    restore: (values) =>
      queued(() => {
        if (values.state) state = copyOf(graph, values.state);
      }),
    dispose: () =>
      queued(() => {
        isDisposed = true;
      }),
  };
}

function withoutGradients(graph: Graph, state: StateSource, name: string): Differentiation {
  const outputs = graph.outputs.filter((output) => output.name === name);
  const result = interpret({ nodes: graph.nodes, outputs }, state, undefined, { mode: "train" });
  return {
    outputs: result.outputs,
    loss: scalarOf(result.outputs, name),
    gradients: new Map(),
    imageGradient: undefined,
    updates: new Map(),
  };
}

function scalarOf(outputs: ReadonlyMap<string, Float64Tensor>, name: string): number {
  const value = outputs.get(name);
  if (value?.data.length !== 1) throw usageError(`no scalar output "${name}"`);
  return value.data[0]!;
}

function copyOf(graph: Graph, source: StateSource): State {
  return new Map(
    parametersOf(graph).map(({ name, shape }) => {
      const tensor = source.get(name);
      if (tensor === undefined) throw usageError(`state: no tensor "${name}"`);
      if (!sameShape(tensor.shape, shape)) {
        const received = formatShape(tensor.shape);
        throw usageError(`state: "${name}" should be ${formatShape(shape)}, received ${received}`);
      }
      return [name, { shape, data: tensor.data.slice() }];
    }),
  );
}
