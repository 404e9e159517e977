/** What training starts from: fresh weights, or those of another run or of a published file. */
import {
  describeIdentity,
  loadCheckpoint,
  type LoadedCheckpoint,
  printable,
} from "../checkpoint/index.js";
import { fileError, RepkitError, usageError } from "../errors.js";
import {
  formatShape,
  initialState,
  initialTensor,
  type ParamOp,
  parametersOf,
  sameShape,
  type State,
  type StateSource,
  type Tensor,
  toFloat32,
} from "../graph/index.js";
import type { Model } from "../zoo/index.js";

export interface StartingWeightsOptions {
  /** The model to train. */
  readonly model: Model;
  /** Of everything that starts anew. */
  readonly seed: number;
  /** A checkpoint of the same architecture and block in training structure, in any container. */
  readonly pretrained?: string | undefined;
  /** Of the model's outputs, where they are known: other names in the checkpoint are worth a note. */
  readonly classNames?: readonly string[] | undefined;
}

export interface StartingWeights {
  /** In float32, counters in int64. */
  readonly state: State;
  /** What one should know about where they come from, a line each. */
  readonly notes: readonly string[];
}

/**
 * Reads the whole state into memory.
 * @throws RepkitError "file" for a checkpoint that is no such model, with what to do
 */
export function startingWeights(options: StartingWeightsOptions): StartingWeights {
  const { model, seed, pretrained, classNames } = options;
  if (pretrained === undefined) return { state: initialState(model.graph, seed), notes: [] };
  const found = loadCheckpoint(pretrained);
  try {
    checkTrainable(found, model);
    const { model: before, state, metadata, notes } = found;
    const source = { model: before, state, classNames: metadata?.classNames };
    const weights = transferWeights(source, { model, seed, classNames });
    return { state: weights.state, notes: [...notes, ...weights.notes] };
  } finally {
    found.close();
  }
}

/** A model of the same architecture and block, perhaps of other classes, and its state. */
export interface WeightSource {
  readonly model: Model;
  readonly state: StateSource;
  readonly classNames?: readonly string[] | undefined;
}

/**
 * Takes over every tensor, rounded to float32; those whose shape depends on another number of classes
 * start anew.
 * @throws RepkitError "usage" for another architecture or block
 */
export function transferWeights(
  source: WeightSource,
  { model, seed, classNames }: Omit<StartingWeightsOptions, "pretrained">,
): StartingWeights {
  const { arch, block } = source.model;
  if (arch !== model.arch || block !== model.block) {
    throw usageError(
      `${model.arch} x ${model.block} cannot start from weights of ${arch} x ${block}; ` +
        `use -a ${arch} -t ${block}`,
    );
  }
  const shapes = new Map(parametersOf(source.model.graph).map(({ name, shape }) => [name, shape]));
  const state: State = new Map();
  const anew: string[] = [];
  for (const op of parametersOf(model.graph)) {
    const isSame = sameShape(shapes.get(op.name) ?? [], op.shape);
    if (!isSame) anew.push(op.name);
    state.set(op.name, isSame ? stored(source.state, op) : initialTensor(op, seed));
  }
  if (anew.length > 0) return { state, notes: [headNote(source.model, model, anew)] };
  return { state, notes: namesNote(source.classNames, classNames) };
}

function stored(state: StateSource, { name, shape, dtype }: ParamOp): Tensor {
  const tensor = state.get(name);
  if (tensor === undefined) {
    throw new RepkitError("internal", `the state has no ${name} ${formatShape(shape)}`);
  }
  return dtype === "i64" ? tensor : toFloat32(tensor);
}

/** Says which network the file holds, and which way there is from it to this run. */
function checkTrainable({ path, model: found }: LoadedCheckpoint, wanted: Model): void {
  const { arch, block, structure } = found;
  if (arch === wanted.arch && block === wanted.block && structure === "train") return;
  const both =
    `is ${describeIdentity(found)}, but this run trains ${wanted.arch} x ${wanted.block} ` +
    "in its training structure";
  const way =
    structure === "train"
      ? `to train it on, use -a ${arch} -t ${block}`
      : "to train it on with a batch norm after each convolution, use " +
        `-a ${arch} -t base --insert-bn; or start from the file that it was converted from`;
  throw fileError(path, `${both}; ${way}`);
}

function headNote(before: Model, model: Model, names: readonly string[]): string {
  return (
    `the weights are for ${classes(before.numClasses)}, and this model has ` +
    `${classes(model.numClasses)}: ${names.join(", ")} start anew`
  );
}

function classes(count: number): string {
  return `${count} class${count === 1 ? "" : "es"}`;
}

/** As many classes, but called otherwise: the head stays, and may mean something else. */
function namesNote(
  before: readonly string[] | undefined,
  now: readonly string[] | undefined,
): readonly string[] {
  if (before === undefined || now === undefined) return [];
  const first = now.findIndex((name, index) => name !== before[index]);
  if (first < 0) return [];
  const isReordered = now.toSorted().join("\n") === before.toSorted().join("\n");
  const which = isReordered ? "the same classes in another order" : "classes of other names";
  const [there = "", here = ""] = [before, now].map((names) => printable(names[first] ?? "", 60));
  const example = `class ${first} is "${there}" there and "${here}" here`;
  return [`the weights are for ${which} (${example}); the head is kept as it is`];
}
