/**
 * Pickled values beside the weights as a plain tree, safe to walk and print: what is cyclic, very
 * deep, or shared so often that the tree would outgrow the file is cut off and says so.
 */
import type { ExtraKey, ExtraValue, InertValue } from "./container.js";
import type { PickleDict, PickleObject, PickleScalar, PickleValue } from "./pickle-values.js";
import { isComposite } from "./pickle-values.js";
import type { StorageReader } from "./storages.js";

const MAX_DEPTH = 64;
const MAX_PATH = 500; // characters of a key path in messages
const NOTHING: ReadonlyMap<ExtraKey, ExtraValue> = new Map();

/** What a conversion may use. */
export interface ExtrasContext {
  readonly storages: StorageReader;
  /** Left out where it appears: its tensors are the weights. */
  readonly stateDict: PickleDict;
  /** How many values the tree may have. */
  readonly maxValues: number;
}

/** The entries of the outermost dictionary, without the weights. */
export function convertExtras(
  top: PickleValue,
  context: ExtrasContext,
): ReadonlyMap<ExtraKey, ExtraValue> {
  const converter = new Converter(context);
  const value = converter.convert(top, "");
  return value instanceof Map ? (value as ReadonlyMap<ExtraKey, ExtraValue>) : NOTHING;
}

class Converter {
  readonly #context: ExtrasContext;
  readonly #open = new Set<PickleValue>();
  #left: number;

  constructor(context: ExtrasContext) {
    this.#context = context;
    this.#left = context.maxValues;
  }

  convert(value: PickleValue, path: string): ExtraValue {
    if (this.#left-- <= 0) return inert("(too large)");
    if (!isComposite(value)) return value;
    if (this.#open.has(value)) return inert("(cycle)");
    if (this.#open.size >= MAX_DEPTH) return inert("(too large)");
    this.#open.add(value);
    try {
      switch (value.kind) {
        case "list":
        case "tuple":
        case "set":
          return this.#array(value.items, path);
        case "dict":
          return this.#entries(value.entries, path, value === this.#context.stateDict);
        case "object":
          return this.#object(value, path);
        case "global":
          return value.name;
        case "storage":
          return inert(`storage ${value.key}`);
        case "tensor":
          if (typeof value.storage.dtype !== "string")
            return inert(value.storage.dtype.unsupported);
          return this.#context.storages.open(path, value);
      }
    } finally {
      this.#open.delete(value);
    }
  }

  #array(items: readonly PickleValue[], path: string): ExtraValue[] {
    const converted: ExtraValue[] = [];
    for (const [index, item] of items.entries()) {
      if (this.#left <= 0) break;
      converted.push(this.convert(item, join(path, String(index))));
    }
    return converted;
  }

  /** @param withoutTensors the weights themselves: only what lies beside them counts */
  #entries(
    entries: ReadonlyMap<PickleValue, PickleValue>,
    path: string,
    withoutTensors = false,
  ): Map<ExtraKey, ExtraValue> {
    const converted = new Map<ExtraKey, ExtraValue>();
    for (const [key, value] of entries) {
      if (this.#left <= 0) break;
      if (withoutTensors && isComposite(value) && value.kind === "tensor") continue;
      const name = extraKey(key);
      const inner = this.convert(value, join(path, String(name)));
      if (value === this.#context.stateDict && (inner as ReadonlyMap<never, never>).size === 0)
        continue;
      converted.set(name, inner);
    }
    return converted;
  }

  #object(value: PickleObject, path: string): InertValue {
    return {
      kind: "inert",
      global: value.global,
      args: this.#array(value.args, path),
      state: this.convert(value.state, path),
      entries: this.#entries(value.entries, path),
      items: this.#array(value.items, path),
    };
  }
}

/** Scalars stay; a tuple of scalars becomes `(1, 2)`; anything else its kind. */
function extraKey(key: PickleValue): ExtraKey {
  if (!isComposite(key)) return scalarKey(key);
  if (key.kind === "global") return key.name;
  if (key.kind !== "tuple" || key.items.length > 16) return key.kind;
  const parts = key.items.map((item) => (isComposite(item) ? item.kind : scalarKey(item)));
  return `(${parts.map((part) => String(part).slice(0, MAX_PATH)).join(", ")})`;
}

function scalarKey(key: PickleScalar): ExtraKey {
  return typeof key === "object" && key !== null ? Buffer.from(key).toString("latin1") : key;
}

function join(path: string, key: string): string {
  return (path === "" ? key : `${path}.${key}`).slice(0, MAX_PATH);
}

function inert(global: string): InertValue {
  return { kind: "inert", global, args: [], state: null, entries: NOTHING, items: [] };
}
