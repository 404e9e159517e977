// PyTorch's zip container: what is read, and every way in which an archive can lie.

import { closeSync, openSync, truncateSync, writeSync } from "node:fs";
import { join } from "node:path";

import { describe, expect, it } from "@jest/globals";

import { openTensorFile, type ByteSink } from "../../src/checkpoint/index.js";
import { ZipWriter } from "../../src/checkpoint/zip-write.js";
import {
  archiveParts,
  floats,
  pickle,
  refusal,
  temporaryFolder,
  zipFile,
  type ZipOptions,
  type ZipPart,
} from "./support.js";

const folder = temporaryFolder();
const WEIGHTS = pickle.of(pickle.dict(pickle.text("w"), pickle.tensor("0", [2])));
const PARTS = archiveParts(WEIGHTS, { "0": floats(1, 2) });

/** The parts of a good archive; `changes` are merged into the one called `name`. */
function changed(name: string, changes: Partial<ZipPart>): ZipPart[] {
  return PARTS.map((part) => (part.name === `archive/${name}` ? { ...part, ...changes } : part));
}

function open(parts: readonly ZipPart[], options?: ZipOptions) {
  return openTensorFile(folder.place("a.pth", zipFile(parts, options)));
}

function weights(parts: readonly ZipPart[], options?: ZipOptions): unknown {
  const file = open(parts, options);
  try {
    return file.get("w")!.data;
  } finally {
    file.close();
  }
}

describe("an archive is read", () => {
  const one = Float32Array.of(1, 2);

  it.each<[what: string, parts: readonly ZipPart[], options?: ZipOptions]>([
    ["as it is", PARTS],
    ["with 64-bit sizes", PARTS.map((part) => ({ ...part, wide: true })), { wide: true }],
    ["with a 64-bit directory alone", PARTS, { wide: true }],
    ["with a comment", PARTS, { comment: "hello" }],
    ["under another name", PARTS.map((p) => ({ ...p, name: p.name.replace("archive", "my net") }))],
    ["without checksums", PARTS.map((part) => ({ ...part, crc32: 0 }))],
    ["with its byte order", [...PARTS, { name: "archive/byteorder", data: Buffer.from("little") }]],
    ["with a storage longer than it says", changed("data/0", { data: floats(1, 2, 3) })],
  ])("%s", (_, parts, ...[options]) => {
    expect(weights(parts, options)).toEqual(one);
  });
});

describe("an archive is refused", () => {
  const copy = PARTS.at(-1)!;

  it.each<[reason: string, what: string, parts: readonly ZipPart[], options?: ZipOptions]>([
    ["unsupported", "compressed", changed("data/0", { method: 8 })],
    ["unsupported", "encrypted", changed("data/0", { flags: 1 })],
    ["unsupported", "in several parts", PARTS, { disk: 1 }],
    [
      "unsupported",
      "big-endian",
      [...PARTS, { name: "archive/byteorder", data: Buffer.from("big") }],
    ],
    ["unsupported", "TorchScript", [...PARTS, { name: "archive/constants.pkl", data: floats() }]],
    ["corrupt", "an entry twice", [...PARTS, copy]],
    ["corrupt", "two pickles", [...PARTS, { name: "b/data.pkl", data: WEIGHTS }]],
    ["corrupt", "overlapping entries", changed("version", { headerPosition: 0 })],
    ["corrupt", "an entry behind the end", changed("version", { headerPosition: 1_000_000 })],
    ["corrupt", "an entry where none begins", changed("version", { headerPosition: 7 })],
    [
      "corrupt",
      "an entry longer than the file",
      changed("version", { size: 1_000_000, wide: true }),
    ],
    ["corrupt", "two sizes of one entry", changed("version", { size: 1 })],
    ["corrupt", "a path upwards", [...PARTS, { name: "archive/../../etc/x", data: floats() }]],
    ["corrupt", "an absolute path", [...PARTS, { name: "/etc/x", data: floats() }]],
    ["corrupt", "more entries than its directory has room for", PARTS, { count: 60_000 }],
    ["corrupt", "fewer entries than its directory has", PARTS, { count: 2 }],
    ["corrupt", "a directory elsewhere", PARTS, { directoryShift: -3 }],
    ["corrupt", "a directory behind the file", PARTS, { directoryShift: 1_000_000 }],
    [
      "corrupt",
      "a 64-bit directory behind the file",
      PARTS,
      { wide: true, directoryShift: 2 ** 40 },
    ],
    ["corrupt", "a wrong checksum of the pickle", changed("data.pkl", { crc32: 1 })],
    ["storage-missing", "no storage", PARTS.filter(({ name }) => name !== "archive/data/0")],
    ["storage-size", "a short storage", changed("data/0", { data: floats(1) })],
    ["not-a-checkpoint", "no pickle", PARTS.slice(1)],
    ["not-a-checkpoint", "the pickle in no folder", [{ name: "data.pkl", data: WEIGHTS }]],
    // An archive without entries does not begin like one.
    ["not-a-checkpoint", "empty", []],
  ])("%s: %s", (reason, _, parts, ...[options]) => {
    expect(refusal(() => open(parts, options)).reason).toBe(reason);
  });

  it("a wrong checksum of a storage shows when it is read", () => {
    const file = open(changed("data/0", { crc32: 1 }));
    expect(refusal(() => file.get("w"))).toMatchObject({
      reason: "corrupt",
      details: { tensor: "w" },
    });
    file.close();
  });

  it("a wrong checksum shows also where only a part of the storage is read", () => {
    const part = pickle.tensor("0", [1], { offset: 1, elements: 2 });
    const data = pickle.of(pickle.dict(pickle.text("w"), part));
    expect(weights(archiveParts(data, { "0": floats(1, 2) }))).toEqual(Float32Array.of(2));
    const [first, second, third] = archiveParts(data, { "0": floats(1, 2) });
    const file = open([first!, { ...second!, crc32: 1 }, third!]);
    expect(refusal(() => file.get("w")).reason).toBe("corrupt");
    file.close();
  });

  it("cut anywhere, it is truncated or no checkpoint at all", () => {
    const whole = zipFile(PARTS);
    for (let size = 1; size < whole.length; size++) {
      const path = folder.place("cut.pth", whole.subarray(0, size));
      const { reason } = refusal(() => openTensorFile(path));
      expect(reason).toBe(size < 4 ? "not-a-checkpoint" : "truncated");
    }
  });
});

describe("an archive beyond 4 GiB", () => {
  it("is written with 64-bit offsets, and read", () => {
    // The first 5 GiB are a hole in the file, as if other entries lay there.
    const start = 5 * 2 ** 30;
    const path = join(folder.path(), "large.pth");
    const descriptor = openSync(path, "w");
    let position = start;
    const sink: ByteSink = {
      get position() {
        return position;
      },
      write(bytes) {
        writeSync(descriptor, bytes, 0, bytes.length, position);
        position += bytes.length;
      },
    };
    const writer = new ZipWriter(sink);
    for (const { name, data } of PARTS) writer.add(name, data);
    writer.finish();
    // What makes it an archive by its first bytes.
    writeSync(descriptor, Buffer.from("PK\x03\x04"), 0, 4, 0);
    closeSync(descriptor);

    const file = openTensorFile(path);
    expect(file.get("w")!.data).toEqual(Float32Array.of(1, 2));
    file.close();
    truncateSync(path, 0);
  });
});
