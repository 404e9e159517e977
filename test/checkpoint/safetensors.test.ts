// The safetensors container: exact bytes in both directions, and each rule of the format that a file may break.

import { readFileSync, truncateSync } from "node:fs";
import { join } from "node:path";

import { describe, expect, it } from "@jest/globals";

import { openTensorFile, writeSafetensors, type TensorEntry } from "../../src/checkpoint/index.js";
import { RepkitError } from "../../src/errors.js";
import { floats, readAll, refusal, safetensorsFile, temporaryFolder } from "./support.js";

const folder = temporaryFolder();

function open(header: string | object, data?: Uint8Array, length?: bigint) {
  return openTensorFile(folder.place("a.safetensors", safetensorsFile(header, data, length)));
}

function entry(dtype: string, shape: unknown, begin: unknown, end: unknown): object {
  return { dtype, shape, data_offsets: [begin, end] };
}

const ONE = { a: entry("F32", [2], 0, 8) };
const DATA = floats(1, 2);

describe("reading", () => {
  it("has names, types, shapes, order and metadata of the header", () => {
    const header = {
      __metadata__: { format: "pt", "": "empty" },
      z: entry("I64", [], 8, 16),
      a: entry("F32", [1, 2], 0, 8),
      none: entry("F32", [3, 0], 16, 16),
    };
    const file = open(header, Buffer.concat([DATA, Buffer.from([5, 0, 0, 0, 0, 0, 0, 0])]));
    expect(file.container).toBe("safetensors");
    expect(Object.fromEntries(file.metadata)).toEqual({ format: "pt", "": "empty" });
    expect(Array.from(file.tensors.values(), (t) => [t.name, t.dtype, t.shape])).toEqual([
      ["z", "I64", []],
      ["a", "F32", [1, 2]],
      ["none", "F32", [3, 0]],
    ]);
    expect(file.get("a")).toEqual({ shape: [1, 2], data: Float32Array.of(1, 2) });
    expect(file.get("z")).toEqual({ shape: [], data: BigInt64Array.of(5n) });
    expect(file.get("none")).toEqual({ shape: [3, 0], data: new Float32Array(0) });
    expect(file.get("b")).toBeUndefined();
    file.close();
    file.close();
    expect(() => file.get("a")).toThrow(RepkitError);
  });

  it("may have no tensors, and spaces behind the header", () => {
    const file = open("{}   ");
    expect(file.tensors.size).toBe(0);
    file.close();
  });

  it("keeps names apart that objects of JavaScript would not", () => {
    const names = ["__proto__", "constructor", "1", "0", 'ä\u0001"\\'];
    const members = names.map(
      (name, i) => `${JSON.stringify(name)}:${JSON.stringify(entry("U8", [1], i, i + 1))}`,
    );
    const tensors = readAll(open(`{${members.join(",")}}`, Buffer.from([1, 2, 3, 4, 5])));
    expect([...tensors.keys()]).toEqual(names);
    expect(Array.from(tensors.values(), ({ data }) => data[0])).toEqual([1n, 2n, 3n, 4n, 5n]);
    expect(Object.getPrototypeOf({})).toBe(Object.prototype);
  });

  it("strips a common prefix", () => {
    const file = open({ "module.a": entry("F32", [2], 0, 8) }, DATA);
    expect(file.strippedPrefix).toBe("module.");
    expect(file.get("a")!.data).toEqual(Float32Array.of(1, 2));
    file.close();
  });

  it.each<[dtype: string, bytes: number[], values: Float64Array | Float32Array | BigInt64Array]>([
    ["F64", [0x9a, 0x99, 0x99, 0x99, 0x99, 0x99, 0xb9, 0x3f], Float64Array.of(0.1)],
    ["F32", [0, 0, 0xc0, 0x7f, 0, 0, 0, 0x80], Float32Array.of(NaN, -0)],
    // 1, -2, 65504 (largest), 2^-24 (smallest), 2^-14 - 2^-24 (largest subnormal), -0, inf, -inf, 1/3
    [
      "F16",
      [0, 0x3c, 0, 0xc0, 0xff, 0x7b, 1, 0, 0xff, 3, 0, 0x80, 0, 0x7c, 0, 0xfc, 0x55, 0x35],
      Float32Array.of(
        ...[1, -2, 65504, 2 ** -24, 2 ** -14 - 2 ** -24, -0, Infinity, -Infinity],
        0.333251953125,
      ),
    ],
    // 1, -0.15625, largest, smallest subnormal, -inf
    [
      "BF16",
      [0x80, 0x3f, 0x20, 0xbe, 0x7f, 0x7f, 1, 0, 0x80, 0xff],
      Float32Array.of(1, -0.15625, 3.3895313892515355e38, 2 ** -133, -Infinity),
    ],
    ["I64", [255, 255, 255, 255, 255, 255, 255, 127], BigInt64Array.of(2n ** 63n - 1n)],
    ["I32", [255, 255, 255, 127, 0, 0, 0, 128], BigInt64Array.of(2147483647n, -2147483648n)],
    ["I16", [255, 127, 0, 128], BigInt64Array.of(32767n, -32768n)],
    ["I8", [127, 128], BigInt64Array.of(127n, -128n)],
    ["U8", [0, 255], BigInt64Array.of(0n, 255n)],
    ["BOOL", [0, 1, 7], BigInt64Array.of(0n, 1n, 1n)],
  ])("%s", (dtype, bytes, values) => {
    const file = open({ a: entry(dtype, [values.length], 0, bytes.length) }, Buffer.from(bytes));
    expect(file.get("a")).toEqual({ shape: [values.length], data: values });
    file.close();
  });

  it("every half is exact", () => {
    const halves = new Uint16Array(65536).map((_, i) => i);
    const file = open({ a: entry("F16", [65536], 0, 131072) }, Buffer.from(halves.buffer));
    const { data } = file.get("a")!;
    file.close();
    for (let half = 0; half < 65536; half++) {
      const [sign, exponent, fraction] = [half >> 15 ? -1 : 1, (half >> 10) & 31, half & 1023];
      const expected =
        exponent === 31
          ? fraction === 0
            ? sign * Infinity
            : NaN
          : exponent === 0
            ? sign * fraction * 2 ** -24
            : sign * (1024 + fraction) * 2 ** (exponent - 25);
      if (!Object.is(data[half], expected)) throw new Error(`half ${half}: ${data[half]}`);
    }
  });
});

describe("a file is refused", () => {
  const json = JSON.stringify(ONE);
  const two = (a: object, b: object): object => ({ a, b });

  it.each<
    [reason: string, what: string, header: string | object, data: Uint8Array, length?: bigint]
  >([
    ["truncated", "a header longer than the file", ONE, DATA, 1000n],
    ["corrupt", "a header beyond 100 MB", ONE, DATA, 100_000_001n],
    ["corrupt", "a shorter header", ONE, DATA, 10n],
    ["truncated", "missing data", ONE, DATA.subarray(1)],
    ["corrupt", "trailing data", ONE, Buffer.concat([DATA, DATA])],
    ["corrupt", "data without tensors", {}, DATA],
    ["corrupt", "a hole in front", { a: entry("F32", [1], 4, 8) }, DATA],
    ["corrupt", "a hole", two(entry("U8", [2], 0, 2), entry("U8", [5], 3, 8)), DATA],
    ["corrupt", "an overlap", two(entry("U8", [4], 0, 4), entry("U8", [5], 3, 8)), DATA],
    ["corrupt", "the same bytes twice", two(entry("U8", [8], 0, 8), entry("U8", [8], 0, 8)), DATA],
    ["corrupt", "an end before the beginning", { a: entry("F32", [2], 8, 0) }, DATA],
    ["corrupt", "more data than the shape", { a: entry("F32", [1], 0, 8) }, DATA],
    ["corrupt", "less data than the shape", { a: entry("F32", [3], 0, 8) }, DATA],
    [
      "corrupt",
      "an overflowing shape",
      { a: entry("F32", [2 ** 30, 2 ** 30, 2 ** 30], 0, 8) },
      DATA,
    ],
    [
      "corrupt",
      "an overflow behind a zero",
      { a: entry("F32", [2 ** 40, 2 ** 40, 0], 0, 0) },
      floats(),
    ],
    ["corrupt", "too many dimensions", { a: entry("F32", Array(65).fill(1), 0, 4) }, floats(1)],
    ["corrupt", "an unknown type", { a: entry("F31", [2], 0, 8) }, DATA],
    ["unsupported", "a type that is not read", { a: entry("U16", [4], 0, 8) }, DATA],
    ["unsupported", "an 8-bit float", { a: entry("F8_E4M3", [8], 0, 8) }, DATA],
    ["corrupt", "a negative extent", { a: entry("F32", [-2], 0, 8) }, DATA],
    ["corrupt", "a fractional extent", { a: entry("F32", [2.5], 0, 8) }, DATA],
    [
      "corrupt",
      "an extent beyond 2^53",
      '{"a":{"dtype":"F32","shape":[9007199254740993],"data_offsets":[0,8]}}',
      DATA,
    ],
    ["corrupt", "an exponent", '{"a":{"dtype":"F32","shape":[2e0],"data_offsets":[0,8]}}', DATA],
    ["corrupt", "a leading zero", '{"a":{"dtype":"F32","shape":[02],"data_offsets":[0,8]}}', DATA],
    ["corrupt", "a shape that is text", { a: entry("F32", "2", 0, 8) }, DATA],
    ["corrupt", "a type that is none", { a: { ...entry("F32", [2], 0, 8), dtype: 3 } }, DATA],
    [
      "corrupt",
      "three offsets",
      { a: { dtype: "F32", shape: [2], data_offsets: [0, 8, 8] } },
      DATA,
    ],
    ["corrupt", "no offsets", { a: { dtype: "F32", shape: [2] } }, DATA],
    ["corrupt", "an unknown field", { a: { ...entry("F32", [2], 0, 8), stride: [1] } }, DATA],
    ["corrupt", "a name twice", `{${json.slice(1, -1)},${json.slice(1, -1)}}`, DATA],
    [
      "corrupt",
      "a name twice, once escaped",
      `{${json.slice(1, -1)},${json.slice(1, -1).replace('"a"', '"\\u0061"')}}`,
      DATA,
    ],
    [
      "corrupt",
      "a field twice",
      '{"a":{"dtype":"F32","dtype":"F32","shape":[2],"data_offsets":[0,8]}}',
      DATA,
    ],
    ["corrupt", "metadata twice", '{"__metadata__":{},"__metadata__":{}}', floats()],
    ["corrupt", "metadata that is no text", { __metadata__: { a: 1 } }, floats()],
    ["corrupt", "metadata that is nested", { __metadata__: { a: {} } }, floats()],
    ["corrupt", "a tensor that is none", { a: 1 }, DATA],
    ["corrupt", "something behind the header", `${json}x`, DATA],
    ["corrupt", "a comma too many", `${json.slice(0, -1)},}`, DATA],
    ["corrupt", "half a header", json.slice(0, -2), DATA],
    ["corrupt", "a string without an end", '{"a', floats()],
    ["corrupt", "a bad escape", '{"\\x":{}}', floats()],
    ["not-a-checkpoint", "a header that is a list", "[]", floats()],
    ["not-a-checkpoint", "a space in front of the header", ` ${json}`, DATA],
  ])("%s: %s", (reason, _, header, data, ...[length]) => {
    expect(refusal(() => open(header, data, length)).reason).toBe(reason);
  });

  it("a header that is not UTF-8", () => {
    const bytes = safetensorsFile(ONE, DATA);
    bytes[10] = 0xff;
    expect(refusal(() => openTensorFile(folder.place("x", bytes))).reason).toBe("corrupt");
  });

  it("a header with a million keys or a shape with a million extents takes no time", () => {
    const started = performance.now();
    const shape = `[${"1,".repeat(1_000_000)}1]`;
    refusal(() =>
      open(`{"a":{"dtype":"U8","shape":${shape},"data_offsets":[0,1]}}`, Buffer.alloc(1)),
    );
    refusal(() => open(`{"${"\\".repeat(1_000_001)}`));
    const members = Array.from(
      { length: 100_000 },
      (_, i) => `"${i}":{"dtype":"U8","shape":[0],"data_offsets":[0,0]}`,
    );
    open(`{${members.join(",")}}`).close();
    expect(performance.now() - started).toBeLessThan(10_000); // quadratic, it would be minutes
  }, 60_000);

  it("cut anywhere", () => {
    const whole = safetensorsFile(ONE, DATA);
    for (let size = 1; size < whole.length; size++) {
      const path = folder.place("cut.safetensors", whole.subarray(0, size));
      const { reason } = refusal(() => openTensorFile(path));
      expect(reason).toBe(size <= 8 ? "not-a-checkpoint" : "truncated");
    }
  });

  it("cut while it is open", () => {
    const path = folder.place("shrinking.safetensors", safetensorsFile(ONE, DATA));
    const file = openTensorFile(path);
    truncateSync(path, 20);
    expect(refusal(() => file.get("a")).reason).toBe("truncated");
    file.close();
  });
});

describe("other files", () => {
  it.each<[what: string, start: string]>([
    ["HDF5", "\x89HDF\r\n\x1a\n"],
    ["gzip", "\x1f\x8b\x08"],
    ["Git LFS", "version https://git-lfs.github.com/spec/v1\n"],
    ["web page", "<!DOCTYPE html>"],
    ["tar", "a".repeat(257) + "ustar\x0000"],
  ])("%s is called by its name", (what, start) => {
    const path = folder.place("stranger", Buffer.from(start, "latin1"));
    const { reason, message } = refusal(() => openTensorFile(path));
    expect(reason).toBe("not-a-checkpoint");
    expect(message).toContain(what);
  });

  it("a missing file and a folder are unreadable", () => {
    const missing = refusal(() => openTensorFile(join(folder.path(), "missing")));
    expect(missing.reason).toBe("unreadable");
    expect(missing.message).toContain("no such file");
    expect(refusal(() => openTensorFile(folder.path())).reason).toBe("unreadable");
    expect(refusal(() => openTensorFile("/dev/zero")).reason).toBe("unreadable");
  });

  it("an empty file is empty", () => {
    const path = folder.place("empty", new Uint8Array());
    expect(refusal(() => openTensorFile(path)).reason).toBe("empty");
  });
});

describe("writing", () => {
  const write = (entries: Iterable<TensorEntry>, metadata?: Map<string, string>): Buffer => {
    const path = join(folder.path(), "written.safetensors");
    writeSafetensors(path, entries, metadata);
    return readFileSync(path);
  };

  it("is exactly these bytes", () => {
    const bytes = write(
      [
        { name: "b", tensor: { shape: [1, 2], data: Float32Array.of(1, -2) } },
        { name: "n", tensor: { shape: [], data: BigInt64Array.of(-1n) } },
        { name: "1", tensor: { shape: [1], data: Float64Array.of(0.1) } },
      ],
      new Map([
        ["k", 'a"b'],
        ["0", ""],
      ]),
    );
    // Eight-byte types first in the data; the header in the order given, padded to 8 bytes.
    const header =
      '{"__metadata__":{"k":"a\\"b","0":""},' +
      '"b":{"dtype":"F32","shape":[1,2],"data_offsets":[16,24]},' +
      '"n":{"dtype":"I64","shape":[],"data_offsets":[0,8]},' +
      '"1":{"dtype":"F64","shape":[1],"data_offsets":[8,16]}}';
    const padding = " ".repeat((8 - (header.length % 8)) % 8);
    const length = header.length + padding.length;
    expect(bytes.readBigUInt64LE()).toBe(BigInt(length));
    expect(bytes.subarray(8, 8 + length).toString()).toBe(header + padding);
    expect(bytes.subarray(8 + length).toString("hex")).toBe(
      "ffffffffffffffff" + "9a9999999999b93f" + "0000803f" + "000000c0",
    );
  });

  it("converts where another type is asked for", () => {
    write([
      { name: "a", tensor: { shape: [2], data: Float64Array.of(0.1, 1e300) }, dtype: "F32" },
      { name: "b", tensor: { shape: [1], data: Float32Array.of(0.1) }, dtype: "F64" },
    ]);
    const file = openTensorFile(join(folder.path(), "written.safetensors"));
    expect(file.get("a")!.data).toEqual(Float32Array.of(0.10000000149011612, Infinity));
    expect(file.get("b")!.data).toEqual(Float64Array.of(0.10000000149011612));
    file.close();
  });

  it("makes lazy tensors one at a time, and writes views as they are", () => {
    const made: string[] = [];
    const lazy = (name: string, value: number): TensorEntry => ({
      name,
      shape: [2],
      dtype: "F32",
      tensor: () => {
        made.push(name);
        // A view of a larger buffer.
        return { shape: [2], data: Float32Array.of(9, value, value + 1, 9).subarray(1, 3) };
      },
    });
    write([lazy("x", 1), lazy("y", 3)]);
    expect(made).toEqual(["x", "y"]);
    const tensors = readAll(openTensorFile(join(folder.path(), "written.safetensors")));
    expect(tensors.get("x")!.data).toEqual(Float32Array.of(1, 2));
    expect(tensors.get("y")!.data).toEqual(Float32Array.of(3, 4));
  });

  it("of nothing is an empty file of its kind", () => {
    expect(write([]).toString("latin1")).toBe("\x08\0\0\0\0\0\0\0{}      ");
  });

  it.each<[what: string, entries: TensorEntry[]]>([
    [
      "one name twice",
      [
        { name: "a", tensor: { shape: [1], data: Float32Array.of(1) } },
        { name: "a", tensor: { shape: [1], data: Float32Array.of(1) } },
      ],
    ],
    [
      "a reserved name",
      [{ name: "__metadata__", tensor: { shape: [], data: Float32Array.of(1) } }],
    ],
    [
      "data that is not its shape",
      [{ name: "a", tensor: { shape: [2], data: Float32Array.of(1) } }],
    ],
    [
      "integers as floats",
      [{ name: "a", tensor: { shape: [], data: BigInt64Array.of(1n) }, dtype: "F32" }],
    ],
    [
      "another shape than announced",
      [
        {
          name: "a",
          shape: [2],
          dtype: "F32",
          tensor: () => ({ shape: [1, 2], data: Float32Array.of(1, 2) }),
        },
      ],
    ],
  ])("%s is a mistake of the caller", (_, entries) => {
    expect(() => write(entries)).toThrow(expect.objectContaining({ kind: "internal" }));
  });
});
