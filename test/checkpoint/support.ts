// What the checkpoint tests share: folders that vanish, errors as data, and hand-made containers.

import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { crc32 } from "node:zlib";

import { afterAll, beforeAll } from "@jest/globals";

import type { TensorFile } from "../../src/checkpoint/index.js";
import { RepkitError } from "../../src/errors.js";
import type { Tensor } from "../../src/graph/index.js";

export const PTH_FIXTURES = fileURLToPath(new URL("../fixtures/pth/", import.meta.url));

/** A folder for the tests of one file; `place(name, bytes)` writes into it and returns the path. */
export function temporaryFolder(): {
  path: () => string;
  place: (name: string, bytes: Uint8Array) => string;
} {
  let folder = "";
  beforeAll(() => {
    folder = mkdtempSync(join(tmpdir(), "repkit-checkpoint-"));
  });
  afterAll(() => {
    rmSync(folder, { recursive: true, force: true });
  });
  return {
    path: () => folder,
    place(name, bytes) {
      const path = join(folder, name);
      writeFileSync(path, bytes);
      return path;
    },
  };
}

export interface Refusal {
  reason: unknown;
  message: string;
  details: Readonly<Record<string, unknown>>;
}

/** What a call was refused with; anything but an error of kind "file" fails the test. */
export function refusal(call: () => unknown): Refusal {
  try {
    call();
  } catch (error) {
    if (!(error instanceof RepkitError) || error.kind !== "file") throw error;
    return { reason: error.details["reason"], message: error.message, details: error.details };
  }
  throw new Error("expected a refusal, but the call went through");
}

/** Every tensor of an open file, which is closed. */
export function readAll(file: TensorFile): Map<string, Tensor> {
  try {
    return new Map(Array.from(file.tensors.keys(), (name) => [name, file.get(name)!]));
  } finally {
    file.close();
  }
}

/** Uniform integers, reproducible: mulberry32. */
export function random(seed: number): (below: number) => number {
  let state = seed;
  return (below) => {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return Math.floor((((t ^ (t >>> 14)) >>> 0) / 2 ** 32) * below);
  };
}

// --- safetensors ---------------------------------------------------------------------------------

/** A safetensors file from a header, as text or as a value, and its data. */
export function safetensorsFile(
  header: string | object,
  data: Uint8Array = new Uint8Array(),
  length?: bigint,
): Buffer {
  const text = Buffer.from(typeof header === "string" ? header : JSON.stringify(header));
  const field = Buffer.alloc(8);
  field.writeBigUInt64LE(length ?? BigInt(text.length));
  return Buffer.concat([field, text, data]);
}

export function floats(...values: number[]): Buffer {
  return Buffer.from(new Float32Array(values).buffer);
}

// --- pickles -------------------------------------------------------------------------------------

/** An assembler of pickle opcodes (protocol 2 unless said otherwise); each function is one of them. */
export const pickle = {
  /** With PROTO in front and STOP behind. */
  of: (...parts: (string | Buffer)[]): Buffer =>
    Buffer.concat([Buffer.from([0x80, 2]), pickle.raw(...parts), Buffer.from(".")]),
  /** Strings are opcodes in latin1. */
  raw: (...parts: (string | Buffer)[]): Buffer =>
    Buffer.concat(
      parts.map((part) => (typeof part === "string" ? Buffer.from(part, "latin1") : part)),
    ),
  text: (value: string): Buffer => {
    const content = Buffer.from(value);
    const length = Buffer.alloc(4);
    length.writeUInt32LE(content.length);
    return Buffer.concat([Buffer.from("X"), length, content]);
  },
  int: (value: number): Buffer => {
    const bytes = Buffer.alloc(5, "J");
    bytes.writeInt32LE(value, 1);
    return bytes;
  },
  float: (value: number): Buffer => {
    const bytes = Buffer.alloc(9, "G");
    bytes.writeDoubleBE(value, 1);
    return bytes;
  },
  global: (name: string): string => {
    const dot = name.lastIndexOf(".");
    return `c${name.slice(0, dot)}\n${name.slice(dot + 1)}\n`;
  },
  tuple: (...items: (string | Buffer)[]): Buffer => pickle.raw("(", ...items, "t"),
  dict: (...keysAndValues: (string | Buffer)[]): Buffer => pickle.raw("}(", ...keysAndValues, "u"),
  call: (name: string, ...args: (string | Buffer)[]): Buffer =>
    pickle.raw(pickle.global(name), pickle.tuple(...args), "R"),
  storage: (key: string, elements: number, type = "FloatStorage"): Buffer =>
    pickle.raw(
      pickle.tuple(
        ...[pickle.text("storage"), pickle.global(`torch.${type}`), pickle.text(key)],
        ...[pickle.text("cpu"), pickle.int(elements)],
      ),
      "Q",
    ),
  /** A float32 tensor on a storage of just its size, or as the options say. */
  tensor: (
    key: string,
    shape: readonly number[],
    options: { stride?: readonly number[]; offset?: number; elements?: number; type?: string } = {},
  ): Buffer => {
    const count = shape.reduce((a, b) => a * b, 1);
    const stride =
      options.stride ?? shape.map((_, i) => shape.slice(i + 1).reduce((a, b) => a * b, 1));
    return pickle.call(
      "torch._utils._rebuild_tensor_v2",
      pickle.storage(key, options.elements ?? count, options.type),
      pickle.int(options.offset ?? 0),
      pickle.tuple(...shape.map(pickle.int)),
      pickle.tuple(...stride.map(pickle.int)),
      "\x89",
      pickle.call("collections.OrderedDict"),
    );
  },
};

// --- zip -----------------------------------------------------------------------------------------

export interface ZipPart {
  name: string;
  data: Uint8Array;
  /** What the archive claims instead of the truth. */
  crc32?: number;
  method?: number;
  flags?: number;
  size?: number;
  headerPosition?: number;
  localName?: string;
  /** Write sizes and position as 64-bit values. */
  wide?: boolean;
}

export interface ZipOptions {
  /** A 64-bit end record; the 32-bit one then says nothing. */
  wide?: boolean;
  comment?: string;
  count?: number;
  disk?: number;
  directoryShift?: number;
}

/** A zip archive put together from the format's description, with what the options make wrong. */
export function zipFile(parts: readonly ZipPart[], options: ZipOptions = {}): Buffer {
  const local: Buffer[] = [];
  const central: Buffer[] = [];
  let position = 0;
  for (const part of parts) {
    const name = Buffer.from(part.name);
    const localName = Buffer.from(part.localName ?? part.name);
    const sum = part.crc32 ?? crc32(part.data);
    const size = part.size ?? part.data.length;
    const header = Buffer.alloc(30);
    header.writeUInt32LE(0x04034b50);
    header.writeUInt16LE(localName.length, 26);
    local.push(header, localName, Buffer.from(part.data));

    const claimed = part.headerPosition ?? position;
    const extra = Buffer.alloc(part.wide ? 28 : 0);
    if (part.wide) {
      extra.writeUInt16LE(1, 0);
      extra.writeUInt16LE(24, 2);
      extra.writeBigUInt64LE(BigInt(size), 4);
      extra.writeBigUInt64LE(BigInt(size), 12);
      extra.writeBigUInt64LE(BigInt(claimed), 20);
    }
    const record = Buffer.alloc(46);
    record.writeUInt32LE(0x02014b50);
    record.writeUInt16LE(part.flags ?? 0, 8);
    record.writeUInt16LE(part.method ?? 0, 10);
    record.writeUInt32LE(sum, 16);
    record.writeUInt32LE(part.wide ? 0xffffffff : part.data.length, 20);
    record.writeUInt32LE(part.wide ? 0xffffffff : size, 24);
    record.writeUInt16LE(name.length, 28);
    record.writeUInt16LE(extra.length, 30);
    record.writeUInt32LE(part.wide ? 0xffffffff : claimed, 42);
    central.push(record, name, extra);
    position += 30 + localName.length + part.data.length;
  }
  const directory = Buffer.concat(central);
  const start = position + (options.directoryShift ?? 0);
  const count = options.count ?? parts.length;
  const end64 = Buffer.alloc(options.wide ? 76 : 0);
  if (options.wide) {
    end64.writeUInt32LE(0x06064b50);
    end64.writeBigUInt64LE(44n, 4);
    end64.writeBigUInt64LE(BigInt(count), 24);
    end64.writeBigUInt64LE(BigInt(count), 32);
    end64.writeBigUInt64LE(BigInt(directory.length), 40);
    end64.writeBigUInt64LE(BigInt(start), 48);
    end64.writeUInt32LE(0x07064b50, 56);
    end64.writeBigUInt64LE(BigInt(position + directory.length), 64);
    end64.writeUInt32LE(1, 72);
  }
  const comment = Buffer.from(options.comment ?? "");
  const end = Buffer.alloc(22);
  end.writeUInt32LE(0x06054b50);
  end.writeUInt16LE(options.disk ?? 0, 4);
  end.writeUInt16LE(options.wide ? 0xffff : count, 10);
  end.writeUInt32LE(options.wide ? 0xffffffff : directory.length, 12);
  end.writeUInt32LE(options.wide ? 0xffffffff : start, 16);
  end.writeUInt16LE(comment.length, 20);
  return Buffer.concat([...local, directory, end64, end, comment]);
}

/** The parts of a PyTorch archive: a pickle, and storages by key. */
export function archiveParts(data: Buffer, storages: Record<string, Uint8Array> = {}): ZipPart[] {
  return [
    { name: "archive/data.pkl", data },
    ...Object.entries(storages).map(([key, bytes]) => ({
      name: `archive/data/${key}`,
      data: bytes,
    })),
    { name: "archive/version", data: Buffer.from("3\n") },
  ];
}

/** A PyTorch archive: the pickle's opcodes, and storages by key. */
export function archive(data: Buffer, storages: Record<string, Uint8Array> = {}): Buffer {
  return zipFile(archiveParts(data, storages));
}

// --- legacy container ----------------------------------------------------------------------------

const MAGIC = Buffer.from("8a0a6cfc9c46f9206aa85019", "hex"); // LONG1 0x1950a86a20f9469cfc6c

export interface LegacyOptions {
  magic?: Buffer;
  protocol?: number;
  littleEndian?: boolean;
}

/** PyTorch's older container: the pickle's opcodes, and storages by key with their element counts. */
export function legacyFile(
  data: Buffer,
  storages: readonly [key: string, elements: number, bytes: Uint8Array][] = [],
  options: LegacyOptions = {},
): Buffer {
  const count = (elements: number): Buffer => {
    const field = Buffer.alloc(8);
    field.writeBigInt64LE(BigInt(elements));
    return field;
  };
  return Buffer.concat([
    pickle.of(options.magic ?? MAGIC),
    pickle.of(pickle.int(options.protocol ?? 1001)),
    pickle.of(
      pickle.dict(pickle.text("little_endian"), options.littleEndian === false ? "\x89" : "\x88"),
    ),
    data,
    pickle.of("](", ...storages.map(([key]) => pickle.text(key)), "e"),
    ...storages.flatMap(([, elements, bytes]) => [count(elements), Buffer.from(bytes)]),
  ]);
}
