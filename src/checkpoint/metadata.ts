/**
 * What a repkit checkpoint says about itself, in the `__metadata__` of its safetensors header. All
 * values are strings there; here they are typed. `format` is "repkit" and `version` "1":
 *
 *   arch, block, mode (train|deploy), classes, img_size         which network it is
 *   epoch, step, best_acc1 (percent), recipe (JSON object)      how far training has come
 *   class_names (JSON list)                                     what the outputs mean
 *   verified (JSON object, or "no"), source                     how a conversion was checked, of what
 *
 * Reading is strict: a value that cannot be meant is an error that names its key. Keys that are not
 * known are kept, and written again.
 */
import type { Structure } from "../blocks/index.js";
import type { RepkitError } from "../errors.js";
import { MAX_CLASSES, MAX_IMAGE_SIZE } from "../zoo/index.js";
import { readFailure } from "./failure.js";
import { parseJson, type JsonValue } from "./json.js";

export type JsonObject = Readonly<Record<string, JsonValue>>;

export interface CheckpointMetadata {
  /** As the registry names it; unknown names are kept here and refused when the model is built. */
  readonly arch: string;
  readonly block: string;
  readonly mode: Structure;
  readonly classes: number;
  /** Height and width of the images, pixels. */
  readonly imgSize: number;
  /** Epochs completed. */
  readonly epoch?: number | undefined;
  /** Optimizer steps completed. */
  readonly step?: number | undefined;
  /** Percent. */
  readonly bestAcc1?: number | undefined;
  /** The resolved training recipe. */
  readonly recipe?: JsonObject | undefined;
  /** One per class, in the order of the outputs. */
  readonly classNames?: readonly string[] | undefined;
  /** How a conversion was checked, or "no" where it was told not to. */
  readonly verified?: JsonObject | "no" | undefined;
  /** The file that a conversion started from. */
  readonly source?: string | undefined;
  /** Whatever else is there. */
  readonly other?: ReadonlyMap<string, string> | undefined;
}

const FORMAT = "repkit";
const VERSION = 1;

type Fields = Omit<CheckpointMetadata, "other">;

/** How one field is written; `parse` gives undefined for what is not `expected`. */
interface Field<T> {
  readonly key: string;
  readonly expected: string;
  readonly required?: true;
  readonly parse: (text: string) => T | undefined;
  readonly format: (value: T) => string;
}

const FIELDS: { readonly [K in keyof Fields]-?: Field<NonNullable<Fields[K]>> } = {
  arch: { ...name("arch"), required: true },
  block: { ...name("block"), required: true },
  mode: {
    key: "mode",
    expected: "train or deploy",
    required: true,
    parse: (text) => (text === "train" || text === "deploy" ? text : undefined),
    format: (value) => value,
  },
  classes: { ...whole("classes", 1, MAX_CLASSES), required: true },
  imgSize: { ...whole("img_size", 1, MAX_IMAGE_SIZE), required: true },
  epoch: whole("epoch", 0, Number.MAX_SAFE_INTEGER),
  step: whole("step", 0, Number.MAX_SAFE_INTEGER),
  bestAcc1: {
    key: "best_acc1",
    expected: "a number from 0 to 100",
    parse: parsePercentage,
    format: String,
  },
  classNames: {
    key: "class_names",
    expected: "a JSON list of strings",
    parse: (text) => {
      const value = parseJson(text);
      return Array.isArray(value) && value.every((item) => typeof item === "string")
        ? value
        : undefined;
    },
    format: (value) => JSON.stringify(value),
  },
  recipe: {
    key: "recipe",
    expected: "a JSON object",
    parse: parseObject,
    format: (value) => JSON.stringify(value),
  },
  verified: {
    key: "verified",
    expected: 'a JSON object or "no"',
    parse: (text) => (text === "no" ? text : parseObject(text)),
    format: (value) => (typeof value === "string" ? value : JSON.stringify(value)),
  },
  source: { key: "source", expected: "text", parse: (text) => text, format: (value) => value },
};

const FIELD_NAMES = Object.keys(FIELDS) as readonly (keyof Fields)[];
const KNOWN_KEYS: ReadonlySet<string> = new Set([
  "format",
  "version",
  ...FIELD_NAMES.map((field) => FIELDS[field].key),
]);

/**
 * The metadata of a repkit checkpoint, or undefined where the file is of another making.
 * @throws RepkitError "file" where a value cannot be meant, or a newer repkit has written it
 */
export function readMetadata(
  path: string,
  strings: ReadonlyMap<string, string>,
): CheckpointMetadata | undefined {
  if (strings.get("format") !== FORMAT) return undefined;
  checkVersion(path, strings.get("version"));
  const fields: Record<string, unknown> = {};
  for (const field of FIELD_NAMES) {
    const value = readField(path, FIELDS[field] as Field<unknown>, strings);
    if (value !== undefined) fields[field] = value;
  }
  const metadata = fields as unknown as Fields;
  const { classes, classNames } = metadata;
  if (classNames !== undefined && classNames.length !== classes) {
    const found = `a list of ${classNames.length}`;
    throw malformed(path, "class_names", `one name for each of the ${classes} classes`, found);
  }
  const other = new Map([...strings].filter(([key]) => !KNOWN_KEYS.has(key)));
  return other.size === 0 ? metadata : { ...metadata, other };
}

/**
 * The metadata as strings. What is written can be read again: it is tried at once.
 * @throws RepkitError "file", naming `path`, where it cannot
 */
export function writeMetadata(path: string, metadata: CheckpointMetadata): Map<string, string> {
  const strings = new Map([
    ["format", FORMAT],
    ["version", String(VERSION)],
  ]);
  for (const field of FIELD_NAMES) {
    const value = metadata[field];
    const { key, format } = FIELDS[field] as Field<unknown>;
    if (value !== undefined) strings.set(key, format(value));
  }
  for (const [key, value] of metadata.other ?? [])
    if (!KNOWN_KEYS.has(key)) strings.set(key, value);
  readMetadata(path, strings);
  return strings;
}

/** The same under the names they have in the file, typed; other keys keep their strings. */
export function metadataDocument(metadata: CheckpointMetadata): JsonObject {
  const known = FIELD_NAMES.flatMap((field) => {
    const value = metadata[field];
    return value === undefined ? [] : [[FIELDS[field].key, value] as const];
  });
  return {
    ...Object.fromEntries(metadata.other ?? []),
    format: FORMAT,
    version: VERSION,
    ...Object.fromEntries(known),
  };
}

function checkVersion(path: string, version: string | undefined): void {
  if (version === String(VERSION)) return;
  if (version === undefined || !/^[1-9][0-9]{0,8}$/.test(version)) {
    throw malformed(path, "version", "a whole number from 1", quote(version));
  }
  const problem =
    `its metadata has version ${version}, and this repkit reads up to version ${VERSION}; ` +
    "update repkit to open it";
  throw readFailure(path, "unsupported", problem, { version: Number(version) });
}

function readField(
  path: string,
  { key, expected, required, parse }: Field<unknown>,
  strings: ReadonlyMap<string, string>,
): unknown {
  const text = strings.get(key);
  if (text === undefined) {
    if (required === true) throw malformed(path, key, expected, "nothing");
    return undefined;
  }
  const value = parse(text);
  if (value === undefined) throw malformed(path, key, expected, quote(text));
  return value;
}

function malformed(path: string, key: string, expected: string, found: string): RepkitError {
  const problem = `bad ${key} in its metadata: expected ${expected}, found ${found}`;
  return readFailure(path, "corrupt", problem, { key });
}

function quote(text: string | undefined): string {
  if (text === undefined) return "nothing";
  return text.length > 60 ? `"${text.slice(0, 60)}..."` : `"${text}"`;
}

function name(key: string): Field<string> {
  return {
    key,
    expected: "a name",
    parse: (text) => (text === "" ? undefined : text),
    format: (value) => value,
  };
}

function whole(key: string, smallest: number, largest: number): Field<number> {
  const range = largest === Number.MAX_SAFE_INTEGER ? "" : ` to ${largest}`;
  return {
    key,
    expected: `a whole number from ${smallest}${range}`,
    parse: (text) => {
      const value = /^(?:0|[1-9][0-9]{0,15})$/.test(text) ? Number(text) : NaN;
      return value >= smallest && value <= largest ? value : undefined;
    },
    format: String,
  };
}

function parsePercentage(text: string): number | undefined {
  const value = /^[0-9]+(?:\.[0-9]+)?(?:e-?[0-9]{1,3})?$/.test(text) ? Number(text) : NaN;
  return value >= 0 && value <= 100 ? value : undefined;
}

function parseObject(text: string): JsonObject | undefined {
  const value = parseJson(text);
  return typeof value === "object" && value !== null && !Array.isArray(value)
    ? (value as JsonObject)
    : undefined;
}
