/** What the harmless functions and classes of a pickle yield when they are called. */
import { types } from "node:util";

import type { StoredDType } from "./container.js";
import { DTYPE_BYTES } from "./dtypes.js";
import { storageElementName, TENSOR_FUNCTIONS } from "./pickle-globals.js";
import {
  asKind,
  asNatural,
  pickleDict,
  pickleObject,
  type PickledStorage,
  type PickledTensor,
  type PickleDict,
  type PickleValue,
} from "./pickle-values.js";

/** What a call may use of the reader that makes it. */
export interface CallContext {
  /** Pays for copying that many values or characters; ends the reading where a file copies too much. */
  spend(count: number): void;
  /** Ends the reading: the pickle is broken. */
  fail(problem: string): never;
}

/** By the name of the storage class. `Untyped` storages count bytes. */
const STORAGE_DTYPES: ReadonlyMap<string, StoredDType> = new Map([
  ["Double", "F64"],
  ["Float", "F32"],
  ["Half", "F16"],
  ["BFloat16", "BF16"],
  ["Long", "I64"],
  ["Int", "I32"],
  ["Short", "I16"],
  ["Char", "I8"],
  ["Byte", "U8"],
  ["Untyped", "U8"],
  ["Bool", "BOOL"],
]);

const TORCH_DTYPES: ReadonlyMap<string, StoredDType> = new Map([
  ["torch.float64", "F64"],
  ["torch.float32", "F32"],
  ["torch.float16", "F16"],
  ["torch.bfloat16", "BF16"],
  ["torch.int64", "I64"],
  ["torch.int32", "I32"],
  ["torch.int16", "I16"],
  ["torch.int8", "I8"],
  ["torch.uint8", "U8"],
  ["torch.bool", "BOOL"],
]);

/** The element type of a storage class, or undefined where the global is something else. */
export function storageDType(global: string): PickledStorage["dtype"] | undefined {
  const name = storageElementName(global);
  if (name === undefined) return undefined;
  return STORAGE_DTYPES.get(name) ?? { unsupported: global };
}

/** The value of `global(*args)`, or undefined where this global has no value of its own. */
export function callGlobal(
  global: string,
  args: readonly PickleValue[],
  context: CallContext,
): PickleValue | undefined {
  if (TENSOR_FUNCTIONS.has(global)) return rebuildTensor(global, args, context);
  switch (global) {
    case "collections.OrderedDict":
    case "collections.Counter":
    case "builtins.dict":
      return makeDict(args[0], context);
    case "collections.defaultdict":
      return makeDict(args[1], context);
    case "builtins.set":
    case "builtins.frozenset":
      return { kind: "set", items: copyItems(args[0], context) };
    case "builtins.list":
    case "collections.deque":
      return { kind: "list", items: copyItems(args[0], context) };
    case "builtins.tuple":
    case "torch.Size":
      return { kind: "tuple", items: copyItems(args[0], context) };
    case "torch.device":
      return args.map(devicePart).join(":");
    case "_codecs.encode":
      return encodeLatin1(args, context);
    case "builtins.bytes":
    case "builtins.bytearray":
      return types.isUint8Array(args[0]) ? args[0] : pickleObject(global, args);
    case "numpy.core.multiarray.scalar":
    case "numpy._core.multiarray.scalar":
      return numpyScalar(args) ?? pickleObject(global, args);
    default:
      return undefined;
  }
}

/** `(storage, offset, size, stride, ...)`, or a tensor wrapped once more. */
function rebuildTensor(
  global: string,
  args: readonly PickleValue[],
  context: CallContext,
): PickledTensor {
  if (global === "torch._tensor._rebuild_from_type_v2") {
    const inner = asKind(args[0], "global")?.name;
    const innerArgs = asKind(args[2], "tuple")?.items;
    // The inner function must be another one: no recursion.
    if (inner === undefined || inner === global || !TENSOR_FUNCTIONS.has(inner) || !innerArgs) {
      return context.fail(`${global} does not rebuild a plain tensor`);
    }
    return rebuildTensor(inner, innerArgs, context);
  }
  if (global.startsWith("torch._utils._rebuild_parameter")) {
    return asKind(args[0], "tensor") ?? context.fail(`${global} is given no tensor`);
  }
  const storage = asKind(args[0], "storage");
  const offset = asNatural(args[1]);
  const shape = naturals(args[2], context);
  const stride = naturals(args[3], context);
  if (storage === undefined || offset === undefined || !shape || !stride) {
    return context.fail(`${global} is given no storage, offset, shape and strides`);
  }
  if (shape.length !== stride.length) {
    return context.fail(`a tensor of ${shape.length} dimensions has ${stride.length} strides`);
  }
  const viewed = global.endsWith("_v3") ? retype(storage, args[6], context) : storage;
  return { kind: "tensor", storage: viewed, offset, shape, stride };
}

/** A storage of bytes seen as elements of the type that `_rebuild_tensor_v3` names. */
function retype(
  storage: PickledStorage,
  dtypeGlobal: PickleValue | undefined,
  context: CallContext,
): PickledStorage {
  const name = asKind(dtypeGlobal, "global")?.name;
  if (name === undefined) return context.fail("_rebuild_tensor_v3 is given no dtype");
  const dtype = TORCH_DTYPES.get(name) ?? { unsupported: name };
  if (typeof dtype !== "string" || typeof storage.dtype !== "string") return { ...storage, dtype };
  const ratio = DTYPE_BYTES[storage.dtype] / DTYPE_BYTES[dtype];
  const scale = (count: number): number => Math.floor(count * ratio);
  return {
    ...storage,
    dtype,
    elements: scale(storage.elements),
    viewOffset: scale(storage.viewOffset),
    viewElements: scale(storage.viewElements),
  };
}

function naturals(value: PickleValue | undefined, context: CallContext): number[] | undefined {
  const items = asKind(value, "tuple")?.items ?? asKind(value, "list")?.items;
  if (items === undefined) return undefined;
  context.spend(items.length);
  const numbers = items.map(asNatural);
  return numbers.every((number) => number !== undefined) ? numbers : undefined;
}

/** From nothing, another dict, or a sequence of pairs. */
function makeDict(source: PickleValue | undefined, context: CallContext): PickleDict {
  const dict = pickleDict();
  const other = asKind(source, "dict");
  if (other !== undefined) {
    context.spend(other.entries.size);
    for (const [key, value] of other.entries) dict.entries.set(key, value);
    return dict;
  }
  for (const pair of copyItems(source, context)) {
    const items = asKind(pair, "tuple")?.items ?? asKind(pair, "list")?.items;
    const [key, value] = items ?? [];
    if (items?.length !== 2 || key === undefined || value === undefined) {
      return context.fail("a dict is made of something else than pairs");
    }
    dict.entries.set(key, value);
  }
  return dict;
}

function copyItems(source: PickleValue | undefined, context: CallContext): PickleValue[] {
  if (source === undefined) return [];
  const items =
    asKind(source, "list")?.items ?? asKind(source, "tuple")?.items ?? asKind(source, "set")?.items;
  if (items === undefined) return context.fail("a collection is made of something else than items");
  context.spend(items.length);
  return [...items];
}

/** How protocol 2 writes bytes: `_codecs.encode(text, "latin1")`. */
function encodeLatin1(args: readonly PickleValue[], context: CallContext): Uint8Array {
  const [text, codec] = args;
  if (typeof text !== "string" || (codec !== "latin1" && codec !== "latin-1")) {
    return context.fail("_codecs.encode is used for something else than bytes");
  }
  context.spend(text.length);
  return new Uint8Array(Buffer.from(text, "latin1"));
}

/** `cuda` or `0` of `torch.device("cuda", 0)`. */
function devicePart(value: PickleValue): string {
  if (typeof value === "string") return value.slice(0, 100);
  return typeof value === "number" ? String(value) : "?";
}

/** `scalar(dtype("f8"), bytes)` as a number, where the type is a common little-endian one. */
function numpyScalar(args: readonly PickleValue[]): PickleValue | undefined {
  const dtype = asKind(args[0], "object");
  const code = dtype?.global === "numpy.dtype" ? dtype.args[0] : undefined;
  const order = asKind(dtype?.state, "tuple")?.items[1] ?? "|";
  if (typeof code !== "string" || (order !== "<" && order !== "|")) return undefined;
  const raw = args[1];
  const bytes = typeof raw === "string" ? Buffer.from(raw.slice(0, 16), "latin1") : raw;
  if (!types.isUint8Array(bytes) || bytes.length !== Number(code.slice(1))) return undefined;
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  switch (code) {
    case "f8":
      return view.getFloat64(0, true);
    case "f4":
      return view.getFloat32(0, true);
    case "i8": {
      const value = view.getBigInt64(0, true);
      return Number.isSafeInteger(Number(value)) ? Number(value) : value;
    }
    case "i4":
      return view.getInt32(0, true);
    case "b1":
      return view.getUint8(0) !== 0;
    default:
      return undefined;
  }
}
