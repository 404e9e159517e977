/** Writing the checkpoint of a model, in the container that the file's name asks for. */
import { RepkitError, usageError } from "../errors.js";
import { formatShape, parametersOf, type StateSource } from "../graph/index.js";
import type { Model } from "../zoo/index.js";
import type { TensorEntry } from "./entries.js";
import { writeMetadata, type CheckpointMetadata } from "./metadata.js";
import { writePyTorch } from "./pytorch-write.js";
import { writeSafetensors } from "./safetensors.js";

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
  const container = outputContainer(path);
  const { model, state, metadata = {}, beside } = options;
  const side = [...(beside ?? [])];
  checkSide(path, container, side);
  const entries = stateEntries(model, state);
  switch (container) {
    case "safetensors":
      writeSafetensors(path, [...entries, ...side], describe(path, model, metadata));
      return;
    case "pytorch":
      writePyTorch(path, entries);
      return;
    case "pytorch-tar":
      writePyTorch(path, entries, {
        key: "state_dict",
        beside: new Map<string, string | number>([
          ...(metadata.epoch === undefined ? [] : [["epoch", metadata.epoch] as const]),
          ["arch", model.arch],
        ]),
      });
      return;
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
  metadata: NonNullable<SaveOptions["metadata"]>,
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
