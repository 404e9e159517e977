/**
 * What every weights file looks like once it is open, whichever container it came in:
 * safetensors, PyTorch's zip archive, or PyTorch's older sequence of pickles.
 */
import type { StateSource, Tensor } from "../graph/tensor.js";

/**
 * Element types as files store them. In memory F64 stays float64; F32, F16 and BF16 become float32
 * exactly; every integer type and BOOL become int64 exactly.
 */
export type StoredDType =
  "F64" | "F32" | "F16" | "BF16" | "I64" | "I32" | "I16" | "I8" | "U8" | "BOOL";

export type ContainerKind = "safetensors" | "pytorch-zip" | "pytorch-legacy";

/** What is known of a tensor without reading its bytes. */
export interface TensorInfo {
  readonly name: string;
  readonly dtype: StoredDType;
  readonly shape: readonly number[];
}

/** A tensor beside the weights (an optimizer's momentum, a metric), read when asked for. */
export interface StoredTensor {
  readonly kind: "tensor";
  readonly dtype: StoredDType;
  readonly shape: readonly number[];
  /** Reads the values. @throws RepkitError "file" where the file has been damaged meanwhile. */
  read(): Tensor;
}

/** Stands for a pickled object of an unknown class: its parts as data, its class as a mere name. */
export interface InertValue {
  readonly kind: "inert";
  /** The Python name, `yacs.config.CfgNode`; `(cycle)` and `(too large)` mark what was cut off. */
  readonly global: string;
  /** What its constructor would have been given. */
  readonly args: readonly ExtraValue[];
  /** Its attributes (`__dict__`, usually a Map), or null. */
  readonly state: ExtraValue;
  /** Entries of a dict subclass. */
  readonly entries: ReadonlyMap<ExtraKey, ExtraValue>;
  /** Elements of a list subclass. */
  readonly items: readonly ExtraValue[];
}

export type ExtraKey = string | number | bigint | boolean | null;

/**
 * Plain values beside the weights. Python dicts are Maps; lists, tuples and sets are arrays; bytes
 * are a Uint8Array; integers beyond 2^53 are bigints. It is a tree: no cycles, bounded depth.
 */
export type ExtraValue =
  | null
  | boolean
  | number
  | bigint
  | string
  | Uint8Array
  | readonly ExtraValue[]
  | ReadonlyMap<ExtraKey, ExtraValue>
  | StoredTensor
  | InertValue;

/** An open weights file. Tensors are read one at a time, when they are asked for. */
export interface TensorFile extends StateSource {
  readonly path: string;
  readonly container: ContainerKind;
  /** The `__metadata__` of safetensors; empty for the other containers. */
  readonly metadata: ReadonlyMap<string, string>;
  /** The weights by name (without `strippedPrefix`), in the order of the file. */
  readonly tensors: ReadonlyMap<string, TensorInfo>;
  /** Whatever else the file holds: epoch, arch, optimizer, ...; empty for safetensors. */
  readonly extras: ReadonlyMap<ExtraKey, ExtraValue>;
  /** Where in the file the weights were found: "" (the top), "state_dict", "model", ... */
  readonly root: string;
  /** Other places that hold named tensors and could have been chosen, such as "model_ema". */
  readonly alternatives: readonly string[];
  /** "module." or "_orig_mod." or both, where every name began with it; else "". */
  readonly strippedPrefix: string;
  /** `version` of each module, from the `_metadata` of a PyTorch state dict, without the prefix. */
  readonly moduleVersions: ReadonlyMap<string, number>;
  /**
   * Unknown Python names that were kept as inert data, in order of appearance. Harmless value types
   * (`pathlib.PosixPath`, numpy scalars) are not listed, whatever form they took.
   */
  readonly inertGlobals: readonly string[];
  /**
   * Reads the tensor of that name from disk, row-major whatever its strides in the file.
   * @throws RepkitError "file" where its bytes are damaged; "internal" after `close`.
   */
  get(name: string): Tensor | undefined;
  /** Releases the file handle; may be called again. */
  close(): void;
}

/** How a file with several dictionaries of weights is to be opened. */
export interface OpenOptions {
  /** Take the weights from here ("model_ema"), instead of choosing by the rules of state-dict.ts. */
  readonly root?: string;
}
