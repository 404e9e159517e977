/**
 * Checkpoints of models: a weights file opened as a network of the registry with its state, and a
 * network with its state written to a file.
 *
 * A file is opened only if it is that network exactly: every tensor of the state once, no other, of
 * the right shape, and in agreement with the file's own metadata. Values are read when asked for.
 */
import { types } from "node:util";

import { RepkitError } from "../errors.js";
import { parametersOf, type ParamOp, type StateSource, type Tensor } from "../graph/index.js";
import { buildModel, type Model } from "../zoo/index.js";
import type { TensorFile, TensorInfo } from "./container.js";
import type { TensorList } from "./differences.js";
import { firstDifferences, formatDifferences } from "./differences.js";
import { readFailure } from "./failure.js";
import { readMetadata, type CheckpointMetadata } from "./metadata.js";
import { openTensorFile } from "./open.js";
import {
  describeIdentity,
  describeWanted,
  recognise,
  requireRecognised,
  type AlsoMatch,
  type Recognised,
  type Wanted,
} from "./recognise.js";
import { isSideName } from "./save-checkpoint.js";

export interface LoadOptions extends Wanted {
  /** Pixels. Default: what the metadata says, else 224. No weights depend on it. */
  readonly imageSize?: number | undefined;
  /** Take the weights from here ("model_ema"), where a file holds several. */
  readonly root?: string | undefined;
}

export interface LoadedCheckpoint {
  readonly path: string;
  readonly model: Model;
  /** Reads a tensor of the model's state from the file; float64 files give float64. */
  readonly state: StateSource;
  /** Undefined where repkit has not written the file, or not as `.ckpt` or `.safetensors`. */
  readonly metadata: CheckpointMetadata | undefined;
  readonly file: TensorFile;
  /** What said which network it is. */
  readonly recognised: "metadata" | "names";
  /** Other networks that have the same state; empty where the metadata decides. */
  readonly alsoMatches: readonly AlsoMatch[];
  /** Everything that was assumed, left off or left out, a line each. */
  readonly notes: readonly string[];
  /** Releases the file; the state cannot be read any more. */
  close(): void;
}

/**
 * Opens a checkpoint of a model, in any container.
 * @throws RepkitError "file" where it is not exactly one; "usage" for names that do not exist
 */
export function loadCheckpoint(path: string, options: LoadOptions = {}): LoadedCheckpoint {
  const { root, ...rest } = options;
  const file = openTensorFile(path, root === undefined ? {} : { root });
  try {
    return checkpointFrom(file, rest);
  } catch (error) {
    file.close();
    throw error;
  }
}

/** The same for a file that is open; it stays open whatever happens. */
export function checkpointFrom(
  file: TensorFile,
  options: Omit<LoadOptions, "root"> = {},
): LoadedCheckpoint {
  const { path } = file;
  const { imageSize, ...wanted } = options;
  const metadata = readMetadata(path, file.metadata);
  const tensors = weightsOf(file, metadata);
  const found =
    metadata === undefined
      ? requireRecognised(path, tensors, wanted)
      : confirm(path, tensors, { metadata, wanted });
  const { arch, block, structure, numClasses } = found;
  const size = imageSize ?? metadata?.imgSize;
  const model = buildModel({
    ...{ arch, block, structure, numClasses },
    ...(size === undefined ? {} : { imageSize: size }),
  });
  return {
    path,
    model,
    state: stateOf(file, model),
    metadata,
    file,
    recognised: metadata === undefined ? "names" : "metadata",
    alsoMatches: found.alsoMatches,
    notes: [...fileNotes(file), ...networkNotes(found)],
    close: () => file.close(),
  };
}

/** The weights of a file, without what repkit stores beside them (optimizer slots and the like). */
export function weightsOf(file: TensorFile, metadata: CheckpointMetadata | undefined): TensorList {
  if (metadata === undefined) return file.tensors;
  return new Map([...file.tensors].filter(([name]) => !isSideName(name)));
}

/** What was assumed while the file was opened. */
export function fileNotes(file: TensorFile): readonly string[] {
  const { root, alternatives, strippedPrefix, inertGlobals, extras } = file;
  const beside = [...extras.keys()].filter((key) => key !== "_metadata").map(String);
  const said: readonly (readonly [boolean, string])[] = [
    [root !== "", `the weights are those under "${root}"`],
    [alternatives.length > 0, `there are also weights under ${quoted(alternatives)}; left out`],
    [strippedPrefix !== "", `every name begins with "${strippedPrefix}"; it was left off`],
    [
      inertGlobals.length > 0,
      `pickled objects, kept as data and not executed: ${inertGlobals.join(", ")}`,
    ],
    [beside.length > 0, `beside the weights, not used: ${abridge(beside)}`],
  ];
  return said.filter(([applies]) => applies).map(([, text]) => text);
}

/** What was assumed while the network was recognised. */
export function networkNotes(found: Recognised): readonly string[] {
  const notes = found.alsoMatches.map((other) =>
    other.sameNetwork
      ? `as ${describeIdentity(other)} it would be the same network`
      : `it may as well be ${describeIdentity(other)}, which computes something else from the same ` +
        `tensors; taken as ${found.arch} x ${found.block} unless you choose the block`,
  );
  if (!found.withoutCounters) return notes;
  return [...notes, "it has no num_batches_tracked (PyTorch before 0.4.1); they count as 0"];
}

/** Holds the metadata against the tensors, and what was asked for against the metadata. */
function confirm(
  path: string,
  tensors: TensorList,
  { metadata, wanted }: { metadata: CheckpointMetadata; wanted: Wanted },
): Recognised {
  const { arch, block, mode: structure, classes: numClasses } = metadata;
  const claimed = { arch, block, structure, numClasses };
  const keys = ["arch", "block", "structure", "numClasses"] as const;
  if (keys.some((key) => wanted[key] !== undefined && wanted[key] !== claimed[key])) {
    const asked = recognise(tensors, wanted);
    const which = asked.kind === "near-miss" ? `, in which ${firstDifferences(asked, 3)}` : "";
    const problem =
      `is ${describeIdentity(claimed)}, says its metadata; ` +
      `you asked for ${describeWanted(wanted)}${which}`;
    throw readFailure(path, "other-model", problem, { recognised: claimed });
  }
  const found = recogniseClaimed(path, tensors, claimed);
  if (found.kind === "recognised") return found;
  const actual = recognise(tensors);
  const said = `its metadata says that it is ${describeIdentity(claimed)}, but `;
  const differences = found.kind === "near-miss" ? formatDifferences(found, 3) : "no tensor fits";
  const problem =
    actual.kind === "recognised"
      ? `${said}the tensors are those of ${describeIdentity(actual)}: ${differences}`
      : `${said}not all tensors fit: ${differences}`;
  throw readFailure(path, "contradiction", problem, { claimed });
}

function recogniseClaimed(path: string, tensors: TensorList, claimed: Required<Wanted>) {
  try {
    return recognise(tensors, claimed);
  } catch (error) {
    if (!(error instanceof RepkitError) || error.kind !== "usage") throw error;
    throw readFailure(
      path,
      "unsupported",
      `its metadata names a model of another repkit: ${error.message}`,
    );
  }
}

/** The state of the model, read from the file tensor by tensor. */
function stateOf(file: TensorFile, model: Model): StateSource {
  const parameters = new Map(parametersOf(model.graph).map((op) => [op.name, op]));
  return {
    get(name) {
      const parameter = parameters.get(name);
      if (parameter === undefined) return undefined;
      const tensor = file.get(name);
      return parameter.dtype === "i64" ? asCounter(file, parameter, tensor) : tensor;
    },
  };
}

/** Counters are int64 in memory, whatever a file made of them; one that is missing is 0. */
function asCounter(file: TensorFile, { name, shape }: ParamOp, tensor: Tensor | undefined): Tensor {
  if (tensor === undefined) return { shape, data: new BigInt64Array(1) };
  const { data } = tensor;
  if (types.isBigInt64Array(data)) return tensor;
  const value = data[0] ?? 0;
  if (!Number.isSafeInteger(value)) {
    const { dtype } = file.tensors.get(name) as TensorInfo;
    const problem = `tensor ${name}: expected a whole number of steps, found ${value} (${dtype})`;
    throw readFailure(file.path, "corrupt", problem, { tensor: name });
  }
  return { shape, data: BigInt64Array.of(BigInt(value)) };
}

function quoted(names: readonly string[]): string {
  return abridge(names.map((name) => `"${name}"`));
}

const SHOWN = 8; // names

function abridge(names: readonly string[]): string {
  const first = names.slice(0, SHOWN).map((name) => name.slice(0, 60));
  const rest = names.length - first.length;
  return rest > 0 ? `${first.join(", ")} and ${rest} more` : first.join(", ");
}
