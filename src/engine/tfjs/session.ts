/** A loaded graph on a backend: everything that an executable does, on the thread that calls it. */
import { types } from "node:util";

import type { Tensor as TfTensor } from "@tensorflow/tfjs-core";

import { RepkitError } from "../../errors.js";
import type { Graph, Images, OpOf, State, Tensor } from "../../graph/index.js";
import type {
  Batch,
  BatchResult,
  Differentiation,
  ExecutableState,
  Inference,
  Objective,
  ParameterSettings,
  StepOptions,
} from "../types.js";
import type { TfjsBackend } from "./backend.js";
import { inputImages } from "./images.js";
import { plainLayers } from "./layers.js";
import { countHits, crossEntropy } from "./loss.js";
import { scoped, type Toolbox } from "./ops.js";
import { sgdStep, type SgdOptions } from "./optimizer.js";
import { exported, exportedActivation, slotsOf, TensorStore, type Slot } from "./parameters.js";
import { Pass } from "./pass.js";
import { differentiated, makePlan, type Plan } from "./plan.js";

/** LoadOptions as plain data, with its defaults in place. */
export interface SessionOptions {
  readonly checkFinite: boolean;
  readonly momentum: number;
  readonly nesterov: boolean;
  readonly labelSmoothing: number;
  readonly auxiliaryWeight: number;
  readonly penaltyWeight: number;
  readonly clipNorm: number | undefined;
  readonly emaDecay: number | undefined;
  /** By parameter name. */
  readonly settings: ReadonlyMap<string, ParameterSettings>;
}

const NOTHING: ReadonlySet<number> = new Set();

export class Session {
  readonly #tools: Toolbox;
  readonly #graph: Graph;
  readonly #options: SessionOptions;
  readonly #plan: Plan;
  readonly #plans = new Map<string, Plan>();
  readonly #slots: readonly Slot[];
  readonly #trained: ReadonlySet<number>;
  readonly #sgd: SgdOptions;
  readonly #parameters: TensorStore;
  readonly #velocities: TensorStore;
  readonly #average: TensorStore | undefined;
  /** Gradients of batches that no update has used yet, and the sum of their factors. */
  #pending: { readonly gradients: TensorStore; scale: number } | undefined;
  /** Weight expressions in evaluation, until a parameter changes. */
  readonly #weights: TensorStore;

  constructor(backend: TfjsBackend, graph: Graph, state: State, options: SessionOptions) {
    const { tf } = backend;
    this.#tools = { tf, layers: { ...plainLayers(tf), ...backend.layers } };
    this.#graph = graph;
    this.#options = options;
    this.#plan = makePlan(graph);
    this.#slots = slotsOf(graph, this.#plan.kernels);
    const trained = this.#slots.filter(({ op }) => op.role === "param");
    this.#trained = new Set(trained.map(({ id }) => id));
    const { momentum, nesterov, clipNorm } = options;
    const settings = new Map(
      trained.map(({ id, op }) => {
        const { lrMultiplier = 1, weightDecay = 0 } = options.settings.get(op.name) ?? {};
        return [id, { lrMultiplier, weightDecay }];
      }),
    );
    this.#sgd = { momentum, nesterov, clipNorm, settings };
    this.#parameters = new TensorStore(tf, this.#slots);
    this.#velocities = new TensorStore(tf, trained);
    this.#weights = new TensorStore(tf, []);
    this.#parameters.write(state);
    if (options.emaDecay === undefined) return;
    this.#average = new TensorStore(tf, this.#slots);
    this.#average.write(state);
  }

  infer(images: Images, values: readonly number[]): Inference {
    const { tf } = this.#tools;
    return scoped(tf, () => {
      const pass = this.#evaluation(images, this.#planFor(values));
      return {
        outputs: new Map(
          this.#graph.outputs.map(({ name, value }) => [name, this.#export(pass, value)]),
        ),
        values: new Map(values.map((id) => [id, this.#export(pass, id)])),
      };
    });
  }

  evaluate({ images, labels }: Batch): BatchResult {
    return scoped(this.#tools.tf, () => {
      const pass = this.#evaluation(images, this.#plan);
      const { logits, classes } = this.#logits(pass, this.#graph.outputs[0]!.value);
      const { loss } = crossEntropy(logits, labels, 0, classes);
      return { loss, ...countHits(logits, labels, classes) };
    });
  }

  trainStep({ images, labels }: Batch, options: Required<StepOptions>): BatchResult {
    const { tf } = this.#tools;
    const { learningRate, update, gradientScale } = options;
    try {
      return scoped(tf, () => {
        const pass = this.#training(images, false);
        const pending = (this.#pending ??= {
          gradients: new TensorStore(tf, []),
          scale: 0,
        });
        const { loss, seeds } = this.#loss(pass, labels, gradientScale);
        const penalties = this.#penalties();
        const penalty = penalties.reduce((sum, id) => sum + this.#scalar(pass, id), 0);
        const result: BatchResult = {
          loss: loss + this.#options.penaltyWeight * penalty,
          ...this.#hits(pass, labels),
        };
        if (this.#options.checkFinite && !Number.isFinite(result.loss)) {
          throw new RepkitError("diverged", "loss is not finite");
        }
        pending.scale += gradientScale;
        // A penalty on the weights belongs to the update, not to each of its batches.
        if (update) {
          const weight = this.#options.penaltyWeight * pending.scale;
          for (const id of penalties) seeds.set(id, tf.scalar(weight));
        }
        const gradients = pass.backward(seeds);
        for (const [id, gradient] of gradients) {
          if (!this.#trained.has(id)) continue;
          const known = pending.gradients.tensors.get(id);
          pending.gradients.set(id, known === undefined ? gradient : tf.add(known, gradient));
        }
        this.#commit(pass);
        if (update) this.#update(pending.gradients, learningRate);
        return result;
      });
    } catch (error) {
      // Half a gradient is none.
      this.#forgetPending();
      throw error;
    }
  }

  differentiate(images: Images | undefined, objective: Objective): Differentiation {
    const { tf } = this.#tools;
    return scoped(tf, () => {
      const pass = this.#training(images, true);
      const { seeds, loss } = this.#seed(pass, objective);
      const outputs = new Map(
        this.#graph.outputs
          .filter(({ value }) => pass.has(value))
          .map(({ name, value }) => [name, this.#export(pass, value)]),
      );
      const gradients = pass.backward(seeds);
      const found: State = new Map();
      for (const { id, op, isKernel } of this.#slots) {
        const gradient = this.#trained.has(id) ? gradients.get(id) : undefined;
        if (gradient !== undefined) found.set(op.name, exported(tf, gradient, isKernel));
      }
      const input = gradients.get(this.#input?.id ?? -1);
      return {
        outputs,
        loss,
        gradients: found,
        imageGradient: input && exportedActivation(tf, input),
        updates: this.#updates(pass, images !== undefined),
      };
    });
  }

  state(): ExecutableState {
    return {
      state: this.#parameters.read(),
      momentum: this.#velocities.read(),
      ema: this.#average?.read(),
    };
  }

  restore(values: Partial<Record<keyof ExecutableState, State>>): void {
    const { state, momentum, ema } = values;
    if (state !== undefined) this.#parameters.write(state);
    if (momentum !== undefined) {
      this.#velocities.clear();
      this.#velocities.write(momentum);
    }
    if (ema !== undefined) this.#average?.write(ema);
    this.#forgetPending();
    this.#weights.clear();
  }

  dispose(): void {
    this.#forgetPending();
    for (const store of [this.#parameters, this.#velocities, this.#weights, this.#average]) {
      store?.clear();
    }
  }

  #planFor(values: readonly number[]): Plan {
    if (values.length === 0) return this.#plan;
    const key = values.toSorted((a, b) => a - b).join();
    const plan = this.#plans.get(key) ?? makePlan(this.#graph, values);
    this.#plans.set(key, plan);
    return plan;
  }

  #evaluation(images: Images, plan: Plan): Pass {
    const { tf } = this.#tools;
    const pass = new Pass(this.#tools, plan, this.#parameters.tensors, {
      training: false,
      differentiated: NOTHING,
    });
    pass.runWeights(this.#weights.tensors);
    for (const { id } of plan.weights) {
      if (!this.#weights.tensors.has(id)) this.#weights.set(id, tf.clone(pass.value(id)));
    }
    pass.runActivations(inputImages(tf, this.#input!.op, images));
    return pass;
  }

  /** Of bytes there is no gradient. */
  #training(images: Images | undefined, wantsImageGradient: boolean): Pass {
    const sources = new Set(this.#trained);
    const { id = -1 } = this.#input ?? {};
    const isNumeric = images !== undefined && !types.isUint8Array(images.data);
    if (wantsImageGradient && isNumeric) sources.add(id);
    const pass = new Pass(this.#tools, this.#plan, this.#parameters.tensors, {
      training: true,
      differentiated: differentiated(this.#graph, sources),
    });
    pass.runWeights();
    if (images === undefined) pass.runPenalties();
    else pass.runActivations(inputImages(this.#tools.tf, this.#input!.op, images));
    return pass;
  }

  get #input(): { readonly id: number; readonly op: OpOf<"input"> } | undefined {
    for (const { id, op } of this.#graph.nodes) if (op.kind === "input") return { id, op };
    return undefined;
  }

  /** Cross-entropy of the first output and, by their weight, of auxiliary heads; and its gradients. */
  #loss(pass: Pass, labels: Batch["labels"], scale: number) {
    const { labelSmoothing, auxiliaryWeight } = this.#options;
    const seeds = new Map<number, TfTensor>();
    let loss = 0;
    for (const [index, { value }] of this.#heads().entries()) {
      const { logits, classes } = this.#logits(pass, value);
      const weight = index === 0 ? 1 : auxiliaryWeight;
      const own = crossEntropy(logits, labels, labelSmoothing, classes);
      loss += weight * own.loss;
      const gradient = own.gradient.map((x) => x * weight * scale);
      seeds.set(value, this.#tools.tf.tensor2d(gradient, [logits.length / classes, classes]));
    }
    return { loss, seeds };
  }

  #seed(pass: Pass, objective: Objective) {
    const { tf } = this.#tools;
    if ("output" in objective) {
      const { value } = this.#graph.outputs.find(({ name }) => name === objective.output)!;
      const seeds = new Map<number, TfTensor>([[value, tf.scalar(1)]]);
      return { seeds, loss: this.#scalar(pass, value) };
    }
    if ("outputGradient" in objective) {
      const { shape, data } = objective.outputGradient;
      const gradient = tf.tensor(Float32Array.from(data as Float32Array), [...shape]);
      const seed = shape.length === 4 ? tf.transpose(gradient, [0, 2, 3, 1]) : gradient;
      const seeds = new Map<number, TfTensor>([[this.#graph.outputs[0]!.value, seed]]);
      return { seeds, loss: undefined };
    }
    const { penaltyWeight } = this.#options;
    const { loss, seeds } = this.#loss(pass, objective.labels, 1);
    const penalties = this.#penalties();
    for (const id of penalties) seeds.set(id, tf.scalar(penaltyWeight));
    return {
      seeds,
      loss: penalties.reduce((sum, id) => sum + penaltyWeight * this.#scalar(pass, id), loss),
    };
  }

  #heads() {
    return this.#graph.outputs.filter(
      ({ value }) => this.#graph.nodes[value]!.type.world === "activation",
    );
  }

  /** Scalar weight outputs that count. */
  #penalties(): readonly number[] {
    if (this.#options.penaltyWeight === 0) return [];
    return this.#graph.outputs
      .map(({ value }) => value)
      .filter((value) => {
        const { world, shape } = this.#graph.nodes[value]!.type;
        return world === "weight" && shape.length === 0;
      });
  }

  #hits(pass: Pass, labels: Batch["labels"]) {
    const { logits, classes } = this.#logits(pass, this.#graph.outputs[0]!.value);
    return countHits(logits, labels, classes);
  }

  #logits(pass: Pass, id: number): { logits: Float32Array; classes: number } {
    const tensor = pass.value(id);
    return { logits: tensor.dataSync<"float32">(), classes: tensor.shape[1] ?? 1 };
  }

  #scalar(pass: Pass, id: number): number {
    return pass.value(id).dataSync()[0]!;
  }

  #export(pass: Pass, id: number): Tensor {
    const { tf } = this.#tools;
    return this.#graph.nodes[id]!.type.world === "activation"
      ? exportedActivation(tf, pass.value(id))
      : exported(tf, pass.value(id), this.#plan.kernels.has(id));
  }

  #updates(pass: Pass, counted: boolean): State {
    const updates: State = new Map();
    const counters = counted ? this.#counters() : NOTHING;
    for (const [name, { shape, data }] of this.#parameters.read()) {
      const { id, op } = this.#slots.find((slot) => slot.op.name === name)!;
      if (op.role === "param") continue;
      const running = pass.running.get(id);
      if (running !== undefined) updates.set(name, exported(this.#tools.tf, running, false));
      else if (counters.has(id))
        updates.set(name, { shape, data: BigInt64Array.of(BigInt(data[0]!) + 1n) });
      else updates.set(name, { shape, data });
    }
    return updates;
  }

  /** Ids of the counters of batch norms that run. */
  #counters(): ReadonlySet<number> {
    return new Set(
      this.#plan.activations.flatMap(({ op, inputs }) =>
        op.kind === "batchNorm" && inputs[5] !== undefined ? [inputs[5]] : [],
      ),
    );
  }

  #commit(pass: Pass): void {
    for (const [id, value] of pass.running) this.#parameters.set(id, value);
    const { counters } = this.#parameters;
    for (const id of this.#counters()) counters.set(id, (counters.get(id) ?? 0n) + 1n);
    this.#weights.clear();
  }

  #update(gradients: TensorStore, learningRate: number): void {
    const { tf } = this.#tools;
    const stores = { parameters: this.#parameters, velocities: this.#velocities };
    sgdStep(tf, this.#sgd, stores, gradients.tensors, learningRate);
    this.#forgetPending();
    const { emaDecay } = this.#options;
    const average = this.#average;
    if (average === undefined || emaDecay === undefined) return;
    for (const [id, value] of this.#parameters.tensors) {
      const before = average.tensors.get(id)!;
      tf.tidy(() => {
        average.set(id, tf.add(before, tf.mul(tf.sub(value, before), 1 - emaDecay)));
      });
    }
    for (const [id, count] of this.#parameters.counters) average.counters.set(id, count);
  }

  #forgetPending(): void {
    this.#pending?.gradients.clear();
    this.#pending = undefined;
  }
}
