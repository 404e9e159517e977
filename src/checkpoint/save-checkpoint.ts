/** Writing the checkpoint of a model, in the container that the file's name asks for. */
import { RepkitError, usageError } from "../errors.js";
import { formatShape, parametersOf, type StateSource, type Tensor } from "../graph/index.js";
import type { Model } from "../zoo/index.js";
import { type TensorEntry, type TensorWriter, writeEntries } from "./entries.js";
import { writeMetadata, type CheckpointMetadata } from "./metadata.js";
import { PyTorchWriter } from "./pytorch-write.js";
import { SafetensorsWriter } from "./safetensors.js";

/** `pytorch-tar` is a PyTorch file with `{"state_dict": ..., "arch": ...}`, as training scripts write. */
export type OutputContainer = "safetensors" | "pytorch" | "pytorch-tar";

const CONTAINERS: readonly (readonly [extension: string, container: OutputContainer])[] = [
  [".ckpt", "safetensors"],
  [".safetensors", "safetensors"],
  [".pth.tar", "pytorch-tar"],
  [".pth", "pytorch"],
  [".pt", "pytorch"],
];

/**
 * The container for an output file, by its extension.
 * @throws RepkitError "usage" for an extension that is not known
 */
export function outputContainer(path: string): OutputContainer {
  const name = path.toLowerCase();
  const found = CONTAINERS.find(([extension]) => name.endsWith(extension));
  if (found !== undefined) return found[1];
  const known = CONTAINERS.map(([extension]) => extension).join(", ");
  if (name.endsWith(".onnx")) {
    throw usageError(`${path}: ONNX cannot be written yet; use one of ${known}`);
  }
  throw usageError(`${path}: what to write is told by the extension; use one of ${known}`);
}

/** What stands beside the weights has a name that no module can have: "@momentum/stage0.conv1...". */
const SIDE = "@";

export function isSideName(name: string): boolean {
  return name.startsWith(SIDE);
}

export interface SaveOptions {
  readonly model: Model;
  /** Asked for one tensor after the other, so that it may compute or read them. */
  readonly state: StateSource;
  /** Beyond what the model says itself. Only `.ckpt` and `.safetensors` keep all of it. */
  readonly metadata?:
    Omit<CheckpointMetadata, "arch" | "block" | "mode" | "classes" | "imgSize"> | undefined;
  /** Tensors whose names begin with "@": optimizer slots and the like. Only for safetensors. */
  readonly beside?: Iterable<TensorEntry> | undefined;
}

/**
 * Writes a checkpoint atomically: `path` then holds the old file or the new one, whole. The state may
 * be read from the very file that is replaced. Floats are written as float32, counters as int64.
 *
 * `.pth` and `.pt` hold the bare state dict, and so no metadata; `.pth.tar` holds
 * `{epoch, arch, state_dict}`, the epoch if it is known.
 * @throws RepkitError "usage" for an unknown extension; "file" where the system refuses
 */
export function saveCheckpoint(path: string, options: SaveOptions): void {
  const { model, state, metadata, beside } = options;
  const side = [...(beside ?? [])];
  const entries = [...stateEntries(model, state), ...side];
  writeEntries(stageEntries(path, { model, metadata, side }, entries), entries);
}

/** A checkpoint under way, whose tensors come as they are made, in any order. */
export interface CheckpointWriter extends TensorWriter {
  /** What the file says about itself in the end. It takes no more room than what it was begun with. */
  describe(metadata: Metadata): void;
}

/** Begins a checkpoint that `saveCheckpoint` would write. @throws RepkitError as it does */
export function stageCheckpoint(
  path: string,
  { model, metadata }: { readonly model: Model; readonly metadata: Metadata },
): CheckpointWriter {
  return stageEntries(path, { model, metadata, side: [] }, stateEntries(model, new Map()));
}

type Metadata = NonNullable<SaveOptions["metadata"]>;

function stageEntries(
  path: string,
  options: {
    readonly model: Model;
    readonly metadata: Metadata | undefined;
    readonly side: readonly TensorEntry[];
  },
  entries: readonly TensorEntry[],
): CheckpointWriter {
  const { model, metadata = {}, side } = options;
  const container = outputContainer(path);
  checkSide(path, container, side);
  if (container === "safetensors") {
    const writer = new SafetensorsWriter(path, entries, describe(path, model, metadata));
    return new StagedCheckpoint(writer, (final) => writer.describe(describe(path, model, final)));
  }
  const beside = new Map<string, string | number>([
    ...(metadata.epoch === undefined ? [] : [["epoch", metadata.epoch] as const]),
    ["arch", model.arch],
  ]);
  const wrapping = container === "pytorch" ? undefined : { key: "state_dict", beside };
  return new StagedCheckpoint(new PyTorchWriter(path, entries, wrapping), () => undefined);
}

class StagedCheckpoint implements CheckpointWriter {
  readonly #writer: TensorWriter;
  readonly describe: (metadata: Metadata) => void;

  constructor(writer: TensorWriter, describe: (metadata: Metadata) => void) {
    this.#writer = writer;
    this.describe = describe;
  }

  write(name: string, tensor: Tensor): void {
    this.#writer.write(name, tensor);
  }

  commit(): void {
    this.#writer.commit();
  }

  discard(): void {
    this.#writer.discard();
  }
}

/** In state-dict order; each tensor is asked for when it is written. */
function stateEntries(model: Model, state: StateSource): TensorEntry[] {
  return parametersOf(model.graph).map(({ name, shape, dtype }) => ({
    name,
    shape,
    dtype: dtype === "i64" ? "I64" : "F32",
    tensor: () => {
      const tensor = state.get(name);
      if (tensor !== undefined) return tensor;
      throw new RepkitError("internal", `the state has no ${name} ${formatShape(shape)}`);
    },
  }));
}

function describe(
  path: string,
  { arch, block, structure, numClasses, imageSize }: Model,
  metadata: Metadata,
): Map<string, string> {
  const known = { arch, block, mode: structure, classes: numClasses, imgSize: imageSize };
  return writeMetadata(path, { ...metadata, ...known });
}

function checkSide(path: string, container: OutputContainer, side: readonly TensorEntry[]): void {
  const wrong = side.find(({ name }) => !isSideName(name));
  if (wrong !== undefined) {
    throw new RepkitError("internal", `${wrong.name}: names beside the weights begin with ${SIDE}`);
  }
  if (side.length > 0 && container !== "safetensors") {
    throw usageError(`${path}: only .ckpt and .safetensors hold tensors beside the weights`);
  }
}
