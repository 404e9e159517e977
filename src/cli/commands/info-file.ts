/** `repkit info FILE`: what a weights file is, without executing anything in it. */
import { statSync } from "node:fs";

import {
  checkpointFrom,
  describeIdentity,
  type ExtraKey,
  type ExtraValue,
  fileNotes,
  type LoadedCheckpoint,
  metadataDocument,
  openTensorFile,
  printable,
  readMetadata,
  type TensorFile,
  type TensorInfo,
  type Wanted,
} from "../../checkpoint/index.js";
import { fileError, RepkitError } from "../../errors.js";
import { elementCount, formatShape, parameterCount } from "../../graph/index.js";
import { architectures } from "../../zoo/index.js";
import type { CommonOptions } from "../options.js";
import { formatBytes, formatCount, formatTable } from "../table.js";

export interface InfoFileOptions extends CommonOptions {
  readonly arch?: string;
  readonly blocktype?: string;
  readonly deploy?: true;
  readonly numClasses?: number;
  readonly tensors?: true;
}

/** What is found out about a file. */
interface Findings {
  readonly file: TensorFile;
  readonly bytes: number;
  /** Undefined where the file is no model that is known, or not the one that was asked for. */
  readonly checkpoint: LoadedCheckpoint | undefined;
  /** Why not. */
  readonly problem: RepkitError | undefined;
}

/** Prints what a file is. A file that can be read but is not recognised is an answer, not an error. */
export function infoFile(path: string, options: InfoFileOptions): void {
  const file = open(path);
  try {
    const findings = examine(file, options);
    process.stdout.write(
      options.json === true
        ? `${JSON.stringify(asDocument(findings))}\n`
        : asText(findings, options.tensors === true),
    );
  } finally {
    file.close();
  }
}

function open(path: string): TensorFile {
  try {
    return openTensorFile(path);
  } catch (error) {
    const isName = architectures.some(({ name }) => name === path);
    if (!isName || !(error instanceof RepkitError)) throw error;
    throw fileError(path, `no such file; for the architecture use -a ${path}`, { cause: error });
  }
}

function examine(file: TensorFile, options: InfoFileOptions): Findings {
  const wanted: Wanted = {
    ...(options.arch === undefined ? {} : { arch: options.arch }),
    ...(options.blocktype === undefined ? {} : { block: options.blocktype }),
    ...(options.deploy === undefined ? {} : { structure: "deploy" }),
    ...(options.numClasses === undefined ? {} : { numClasses: options.numClasses }),
  };
  const bytes = statSync(file.path).size;
  try {
    return { file, bytes, checkpoint: checkpointFrom(file, wanted), problem: undefined };
  } catch (error) {
    if (!(error instanceof RepkitError) || error.kind !== "file") throw error;
    return { file, bytes, checkpoint: undefined, problem: error };
  }
}

function asDocument({ file, bytes, checkpoint, problem }: Findings) {
  const model = checkpoint?.model;
  return {
    file: file.path,
    container: file.container,
    bytes,
    metadata: metadataOf(file),
    arch: model?.arch ?? null,
    block: model?.block ?? null,
    mode: model?.structure ?? null,
    classes: model?.numClasses ?? null,
    params: model === undefined ? null : parameterCount(model.graph),
    recognised: checkpoint?.recognised ?? null,
    also_matches: (checkpoint?.alsoMatches ?? []).map(
      ({ arch, block, structure, sameNetwork }) => ({
        ...{ arch, block, mode: structure, same_network: sameNetwork },
      }),
    ),
    problem: problem === undefined ? null : { message: problem.message, ...problem.details },
    root: file.root,
    prefix: file.strippedPrefix,
    inert_globals: file.inertGlobals,
    alternatives: file.alternatives,
    extras: Object.fromEntries(extrasOf(file)),
    tensors: Array.from(file.tensors.values(), ({ name, dtype, shape }) => [name, dtype, shape]),
  };
}

/** Typed where repkit wrote it, strings where another program did; null where there is none. */
function metadataOf(file: TensorFile): unknown {
  if (file.metadata.size === 0) return null;
  try {
    const metadata = readMetadata(file.path, file.metadata);
    if (metadata !== undefined) return metadataDocument(metadata);
  } catch (error) {
    // The problem says what is wrong with it; here are the strings themselves.
    if (!(error instanceof RepkitError)) throw error;
  }
  return Object.fromEntries(file.metadata);
}

const CONTAINERS = {
  safetensors: "safetensors",
  "pytorch-zip": "PyTorch, zip archive",
  "pytorch-legacy": "PyTorch, legacy container (before 1.6)",
} as const;

function asText({ file, bytes, checkpoint, problem }: Findings, all: boolean): string {
  const lines = [`${printable(file.path)}: ${CONTAINERS[file.container]}, ${formatBytes(bytes)}`];
  if (checkpoint !== undefined) {
    const source = checkpoint.recognised === "metadata" ? "its metadata" : "names and shapes";
    lines.push(`${describeIdentity(checkpoint.model)}, by ${source}`);
  }
  if (problem !== undefined) lines.push(`problem: ${withoutPath(problem, file)}`);
  lines.push("", ...metadataLines(file), ...extraLines(file));
  for (const note of checkpoint?.notes ?? fileNotes(file)) lines.push(`note: ${printable(note)}`);
  if (lines.at(-1) !== "") lines.push("");
  return `${lines.join("\n")}\n${tensorTable(file, checkpoint, all)}`;
}

/** The message begins with the file's name, which has just been printed. */
function withoutPath({ message }: RepkitError, { path }: TensorFile): string {
  return message.startsWith(`${path}: `) ? message.slice(path.length + 2) : message;
}

const SHOWN_TEXT = 200; // characters of a value

function metadataLines(file: TensorFile): string[] {
  return Object.entries((metadataOf(file) ?? {}) as Record<string, unknown>).map(([key, value]) => {
    const text = typeof value === "string" ? value : JSON.stringify(value);
    return `metadata ${printable(key, 60)}: ${printable(text, SHOWN_TEXT)}`;
  });
}

function extraLines(file: TensorFile): string[] {
  return extrasOf(file).map(
    ([key, value]) => `${printable(key, 60)}: ${printable(String(value), SHOWN_TEXT)}`,
  );
}

const SHOWN_EXTRAS = 50;

/** What lies beside the weights in a PyTorch file, in short; values that JSON has stay what they are. */
function extrasOf({
  extras,
}: TensorFile): [key: string, value: null | boolean | number | string][] {
  return Array.from(extras)
    .slice(0, SHOWN_EXTRAS)
    .map(([key, value]: [ExtraKey, ExtraValue]) => [String(key), summarise(value)]);
}

/** @example a metric of one element → its value; an optimizer → `dict of 2` */
function summarise(value: ExtraValue): null | boolean | number | string {
  if (typeof value === "number") return Number.isFinite(value) ? value : String(value);
  if (value === null || typeof value === "boolean") return value;
  if (typeof value === "string") return value.slice(0, SHOWN_TEXT);
  if (typeof value === "bigint") return value.toString().slice(0, SHOWN_TEXT);
  if (ArrayBuffer.isView(value)) return `${value.byteLength} bytes`;
  if (value instanceof Map) return `dict of ${value.size}`;
  if (Array.isArray(value)) return `list of ${value.length}`;
  const part = value as Extract<ExtraValue, { kind: string }>;
  switch (part.kind) {
    case "inert":
      return `${part.global} (not executed)`;
    case "tensor":
      return elementCount(part.shape) === 1
        ? summarise(part.read().data[0] ?? null)
        : `tensor ${part.dtype} ${formatShape(part.shape)}`;
  }
}

const SHOWN_TENSORS = 10;

function tensorTable(file: TensorFile, checkpoint: LoadedCheckpoint | undefined, all: boolean) {
  const tensors = [...file.tensors.values()];
  const shown = all ? tensors : tensors.slice(0, SHOWN_TENSORS);
  const table = formatTable(
    [{ title: "TENSOR" }, { title: "TYPE" }, { title: "SHAPE" }],
    shown.map(({ name, dtype, shape }) => [printable(name, 120), dtype, formatShape(shape)]),
  );
  const rest = tensors.length - shown.length;
  const more = rest === 0 ? "" : `... and ${rest} more (--tensors lists them all)\n`;
  return `${table}${more}${totals(tensors, checkpoint)}\n`;
}

function totals(tensors: readonly TensorInfo[], checkpoint: LoadedCheckpoint | undefined): string {
  const values = tensors.reduce((sum, { shape }) => sum + elementCount(shape), 0);
  const trained =
    checkpoint === undefined
      ? ""
      : `, ${formatCount(parameterCount(checkpoint.model.graph))} of them parameters`;
  return `${tensors.length} tensors, ${formatCount(values)} values${trained}`;
}
