/** What a pickle is read into: plain data, a union with a `kind`. Nothing here has behaviour. */
import type { StoredDType } from "./container.js";

/** Python None, bool, int, float, str and bytes; ints beyond 2^53 are bigints. */
export type PickleScalar = null | boolean | number | bigint | string | Uint8Array;

export type PickleValue =
  | PickleScalar
  | PickleList
  | PickleTuple
  | PickleSet
  | PickleDict
  | PickleGlobal
  | PickleObject
  | PickledStorage
  | PickledTensor;

export interface PickleList {
  readonly kind: "list";
  readonly items: PickleValue[];
}

export interface PickleTuple {
  readonly kind: "tuple";
  readonly items: readonly PickleValue[];
}

export interface PickleSet {
  readonly kind: "set";
  readonly items: PickleValue[];
}

/** A dict, OrderedDict, defaultdict or Counter. */
export interface PickleDict {
  readonly kind: "dict";
  /** Keys that are not scalars are told apart by identity. */
  readonly entries: Map<PickleValue, PickleValue>;
  /** Attributes set on it, such as the `_metadata` of a state dict. */
  attributes: PickleValue;
}

/** The name of a class or function; never the thing itself. */
export interface PickleGlobal {
  readonly kind: "global";
  readonly name: string;
}

/** An instance of a class that is not known: its parts, inert. */
export interface PickleObject {
  readonly kind: "object";
  readonly global: string;
  readonly args: readonly PickleValue[];
  readonly entries: Map<PickleValue, PickleValue>;
  readonly items: PickleValue[];
  state: PickleValue;
}

/** A reference to the bytes of tensors, kept outside the pickle. */
export interface PickledStorage {
  readonly kind: "storage";
  /** The type of its elements, or the PyTorch name of one that cannot be read. */
  readonly dtype: StoredDType | { readonly unsupported: string };
  readonly key: string;
  readonly elements: number;
  /** The part of it that this reference covers, in elements (old files have views of storages). */
  readonly viewOffset: number;
  readonly viewElements: number;
}

/** A strided view of a storage, all numbers in elements; not checked against anything yet. */
export interface PickledTensor {
  readonly kind: "tensor";
  readonly storage: PickledStorage;
  readonly offset: number;
  readonly shape: readonly number[];
  readonly stride: readonly number[];
}

export function pickleDict(): PickleDict {
  return { kind: "dict", entries: new Map(), attributes: null };
}

export function pickleObject(global: string, args: readonly PickleValue[]): PickleObject {
  return { kind: "object", global, args, entries: new Map(), items: [], state: null };
}

/** A value that is not a scalar: it has a `kind`. */
export function isComposite(value: PickleValue): value is Exclude<PickleValue, PickleScalar> {
  return typeof value === "object" && value !== null && !ArrayBuffer.isView(value);
}

/** The value where it is of that kind, else undefined. */
export function asKind<K extends Exclude<PickleValue, PickleScalar>["kind"]>(
  value: PickleValue | undefined,
  kind: K,
): Extract<PickleValue, { readonly kind: K }> | undefined {
  if (value === undefined || !isComposite(value) || value.kind !== kind) return undefined;
  return value as Extract<PickleValue, { readonly kind: K }>;
}

/** The number where it is an integer from 0 to 2^53 - 1, else undefined. */
export function asNatural(value: PickleValue | undefined): number | undefined {
  return typeof value === "number" && Number.isSafeInteger(value) && value >= 0 ? value : undefined;
}
