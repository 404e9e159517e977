// Mutated files of all containers: a clean read or a typed error, never another exception, a hang, or
// memory beyond what the file's size justifies. Seeds are fixed; a failure prints its own.

import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";

import { afterAll, beforeAll, describe, expect, it, jest } from "@jest/globals";

import { openTensorFile, type ExtraValue } from "../../src/checkpoint/index.js";
import { RepkitError } from "../../src/errors.js";
import {
  archiveParts,
  floats,
  legacyFile,
  pickle,
  PTH_FIXTURES,
  random,
  safetensorsFile,
  temporaryFolder,
  zipFile,
} from "./support.js";

const folder = temporaryFolder();
jest.setTimeout(60_000); // thousands of files a test, on whatever machine
const REASONS = [
  ...["empty", "not-a-checkpoint", "truncated", "corrupt", "storage-size", "storage-missing"],
  ...["unsafe-pickle", "unsupported"],
];
const MILLISECONDS = 5000; // for one file of a few kilobytes; a hang, not a slow machine

/** The largest single buffer asked for since `largest = 0`, bytes. */
let largest = 0;

beforeAll(() => {
  const allocate = Buffer.allocUnsafeSlow.bind(Buffer);
  jest.spyOn(Buffer, "allocUnsafeSlow").mockImplementation((size) => {
    largest = Math.max(largest, size);
    return allocate(size);
  });
});
afterAll(() => {
  jest.restoreAllMocks();
});

type Mutation = (bytes: Buffer, below: (limit: number) => number) => Buffer;

const INTERESTING = [0, 1, 0x7f, 0x80, 0xff];

const MUTATIONS: readonly Mutation[] = [
  function flipBits(bytes, below) {
    for (let i = 0; i <= below(4); i++) bytes[below(bytes.length)]! ^= 1 << below(8);
    return bytes;
  },
  function setBytes(bytes, below) {
    for (let i = 0; i <= below(3); i++) bytes[below(bytes.length)] = INTERESTING[below(5)]!;
    return bytes;
  },
  function replaceBytes(bytes, below) {
    for (let i = 0; i <= below(3); i++) bytes[below(bytes.length)] = below(256);
    return bytes;
  },
  // Length fields, wherever they are: 2, 4 or 8 bytes with a telling value.
  function editLength(bytes, below) {
    const width = [2, 4, 8][below(3)]!;
    const at = below(Math.max(1, bytes.length - width));
    const values = [
      0n,
      1n,
      2n ** 31n - 1n,
      2n ** 32n - 1n,
      2n ** 53n,
      2n ** 63n - 1n,
      2n ** 64n - 1n,
    ];
    const field = Buffer.alloc(8);
    field.writeBigUInt64LE(values[below(values.length)]!);
    field.copy(bytes, at, 0, width);
    return bytes;
  },
  function truncate(bytes, below) {
    return bytes.subarray(0, below(bytes.length));
  },
  function duplicate(bytes, below) {
    const start = below(bytes.length);
    const chunk = bytes.subarray(start, start + below(200));
    const at = below(bytes.length);
    return Buffer.concat([bytes.subarray(0, at), chunk, bytes.subarray(at)]);
  },
  function remove(bytes, below) {
    const start = below(bytes.length);
    return Buffer.concat([bytes.subarray(0, start), bytes.subarray(start + below(50))]);
  },
  function overwrite(bytes, below) {
    const start = below(bytes.length);
    bytes.copy(bytes, below(bytes.length), start, start + below(100));
    return bytes;
  },
  function append(bytes, below) {
    return Buffer.concat([bytes, Buffer.alloc(below(100), below(256))]);
  },
];

/** Reads everything a file has, also beside the weights. */
function readEverything(path: string): void {
  const file = openTensorFile(path);
  try {
    for (const name of file.tensors.keys()) file.get(name);
    const walk = (value: ExtraValue): void => {
      if (Array.isArray(value)) (value as readonly ExtraValue[]).forEach(walk);
      else if (value instanceof Map) (value as ReadonlyMap<string, ExtraValue>).forEach(walk);
      else if (typeof value === "object" && value !== null && "kind" in value) {
        if (value.kind === "tensor") value.read();
        else [...value.args, value.state, value.entries, value.items].forEach(walk);
      }
    };
    walk(file.extras);
  } finally {
    file.close();
  }
}

/** What became of one file: "read", or the reason for which it was refused. */
function outcome(bytes: Buffer, label: string): string {
  const path = join(folder.path(), "fuzzed");
  writeFileSync(path, bytes);
  largest = 0;
  const started = performance.now();
  let result = "read";
  try {
    readEverything(path);
  } catch (error) {
    if (!(error instanceof RepkitError) || error.kind !== "file") {
      throw new Error(`${label}: not a typed error`, { cause: error });
    }
    result = String(error.details["reason"]);
    if (!REASONS.includes(result)) throw new Error(`${label}: reason ${result}`, { cause: error });
  }
  const elapsed = performance.now() - started;
  if (elapsed > MILLISECONDS) throw new Error(`${label}: took ${elapsed} ms`);
  // A pickle window of 64 KiB, a directory search of as much, and expanded views of up to 1 MiB.
  const justified = Math.max(4 * bytes.length, 1 << 20);
  if (largest > justified) throw new Error(`${label}: asked for ${largest} bytes at once`);
  return result;
}

/** Opens `rounds` mutated copies and counts what became of them. */
function fuzz(original: Buffer, seed: number, rounds: number): Record<string, number> {
  const counts: Record<string, number> = {};
  for (let round = 0; round < rounds; round++) {
    const below = random(seed * 1_000_003 + round);
    let bytes: Buffer = Buffer.from(original);
    for (let i = 0; i <= below(3) && bytes.length > 0; i++) {
      bytes = MUTATIONS[below(MUTATIONS.length)]!(bytes, below);
    }
    const result = outcome(bytes, `seed ${seed}, round ${round}`);
    counts[result] = (counts[result] ?? 0) + 1;
  }
  return counts;
}

const fixture = (name: string): Buffer => readFileSync(PTH_FIXTURES + name);

/** A pickle with a bit of everything: nested weights, inert classes, sets, numbers, shared parts. */
const RICH = pickle.of(
  pickle.dict(
    ...[pickle.text("model"), pickle.dict(pickle.text("module.w"), pickle.tensor("0", [2, 3]))],
    ...[
      pickle.text("ema"),
      pickle.dict(pickle.text("w"), pickle.tensor("0", [3, 2], { stride: [1, 3] })),
    ],
    ...[pickle.text("config"), pickle.global("yacs.config.CfgNode"), ")\x81q\x01"],
    ...[pickle.raw("(", pickle.text("LR"), pickle.float(0.1), pickle.text("N"), "K\x05u")],
    ...[pickle.dict(pickle.text("frozen"), "\x88"), "b"],
    ...[pickle.text("again"), "h\x01"],
    ...[pickle.text("tags"), pickle.call("builtins.set", "](K\x01K\x02e")],
    ...[pickle.text("size"), pickle.call("torch.Size", "(K\x02K\x03t")],
    ...[pickle.text("big"), "\x8a\x0a\x01\x02\x03\x04\x05\x06\x07\x08\x09\x0a"],
    ...[pickle.text("old"), "(I5\nL77L\nF1.5\nS'x'\nVy\nlp300\n0g300\n"],
    ...[pickle.text("path"), pickle.call("pathlib.PosixPath", pickle.text("a"))],
  ),
);
const VALUES = floats(1, 2, 3, 4, 5, 6);

describe("mutated files", () => {
  const tensor = (begin: number, end: number) => ({
    dtype: "F32",
    shape: [(end - begin) / 4],
    data_offsets: [begin, end],
  });
  const safetensors = safetensorsFile(
    {
      __metadata__: { format: "pt", epoch: "3" },
      a: tensor(0, 8),
      "b.c": tensor(8, 16),
      d: tensor(16, 24),
    },
    VALUES,
  );
  // Without checksums the mutations of a pickle reach its reader.
  const unchecked = zipFile(
    archiveParts(RICH, { "0": VALUES }).map((part) => ({ ...part, crc32: 0 })),
  );

  it.each<[what: string, original: Buffer, rounds: number]>([
    ["safetensors", safetensors, 2000],
    ["zip archive with checksums", fixture("shared_views.pth"), 1000],
    ["zip archive without checksums", unchecked, 3000],
    ["legacy container", legacyFile(RICH, [["0", 6, VALUES]]), 3000],
    ["legacy container of PyTorch", fixture("shared_views_legacy.pth"), 1000],
    ["training checkpoint", fixture("train_checkpoint_legacy.pth.tar"), 60],
  ])("%s", (what, original, rounds) => {
    expect(outcome(original, what)).toBe("read");
    expect(largest).toBeGreaterThan(0);
    const counts = fuzz(original, what.length, rounds);
    const total = Object.values(counts).reduce((sum, count) => sum + count, 0);
    expect(total).toBe(rounds);
    // Neither everything nor nothing gets through: the mutations reach beyond the first check.
    expect(Object.keys(counts).length).toBeGreaterThanOrEqual(3);
  });
});

describe("random pickles", () => {
  const FRAGMENTS: readonly (string | Buffer)[] = [
    ..."(.0125NacdeghijlopqrstuybRQP)]}\x81\x85\x86\x87\x88\x89\x8f\x90\x91\x92\x93\x94",
    ...["h\x00", "h\x01", "q\x00", "q\x01", "K\x00", "K\x03", "J\xff\xff\xff\xff", "\x8a\x01\xff"],
    ...["](", "}(", ")R", "\x85R", ")\x81", "ccollections\nOrderedDict\n", "cbuiltins\nset\n"],
    ...["ca\nB\n", "ccopyreg\n_reconstructor\n", "c_codecs\nencode\n", "cbuiltins\ntuple\n"],
    ...["ctorch._utils\n_rebuild_tensor_v2\n", "ctorch._tensor\n_rebuild_from_type_v2\n"],
    ...["ctorch\nFloatStorage\n", "cnumpy\ndtype\n", "ctorch\nfloat32\n"],
    pickle.text("storage"),
    pickle.text("latin1"),
    pickle.text("w"),
    pickle.storage("0", 6),
    pickle.tensor("0", [2, 3]),
    pickle.dict(pickle.text("w"), pickle.tensor("0", [6])),
  ];

  it("of valid opcodes in any order", () => {
    const counts: Record<string, number> = {};
    for (let seed = 0; seed < 3000; seed++) {
      const below = random(seed);
      const body = Array.from({ length: 3 + below(40) }, () => FRAGMENTS[below(FRAGMENTS.length)]!);
      const data = pickle.of(...body);
      const bytes = zipFile(archiveParts(data, { "0": VALUES }));
      const result = outcome(bytes, `random pickle ${seed}`);
      counts[result] = (counts[result] ?? 0) + 1;
    }
    expect(counts["corrupt"]).toBeGreaterThan(100);
    expect(counts["unsafe-pickle"]).toBeGreaterThan(10);
  });

  it("of the densest opcodes stay within memory that their size justifies", () => {
    const dense = [
      ["mark", "("],
      ["empty list", "]"],
      ["empty dict", "}"],
      ["duplicate", "2"],
      ["memo", "\x94"],
    ] as const;
    for (const [what, opcode] of dense) {
      const data = pickle.of("N", opcode.repeat(200_000));
      const before = process.memoryUsage().heapUsed;
      outcome(zipFile(archiveParts(data)), what);
      const grown = process.memoryUsage().heapUsed - before;
      expect(grown).toBeLessThan(1000 * data.length);
    }
  });
});
