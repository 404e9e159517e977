// Our .pth files: exact opcodes, our reader, and PyTorch itself where it is installed.

import { spawnSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import process from "node:process";

import { describe, expect, it } from "@jest/globals";

import {
  openTensorFile,
  writePyTorch,
  type TensorEntry,
  type Wrapping,
} from "../../src/checkpoint/index.js";
import { readAll, temporaryFolder } from "./support.js";

const folder = temporaryFolder();
const ENTRIES: TensorEntry[] = [
  { name: "conv.weight", tensor: { shape: [2, 1, 1, 3], data: Float32Array.of(1, 2, 3, 4, 5, 6) } },
  { name: "bn.num_batches_tracked", tensor: { shape: [], data: BigInt64Array.of(-(2n ** 40n)) } },
  { name: "größe", tensor: { shape: [1], data: Float64Array.of(0.1) } },
  { name: "half", tensor: { shape: [1], data: Float64Array.of(0.5) }, dtype: "F32" },
  { name: "none", tensor: { shape: [0, 3], data: new Float32Array(0) } },
  {
    name: "lazy",
    shape: [70_000],
    dtype: "F32",
    tensor: () => ({ shape: [70_000], data: new Float32Array(70_000).fill(0.25) }),
  },
];

function write(entries: Iterable<TensorEntry> = ENTRIES, wrapping?: Wrapping): string {
  const path = join(folder.path(), "written.pth");
  writePyTorch(path, entries, wrapping);
  return path;
}

const WRAPPING: Wrapping = {
  key: "state_dict",
  beside: new Map<string, string | number>([
    ["epoch", 300],
    ["arch", "RepVGG-A0"],
    ["step", 2 ** 40],
  ]),
};

describe("a written .pth", () => {
  it("begins with the pickle that torch.save would write", () => {
    const bytes = readFileSync(write([ENTRIES[0]!]));
    expect(bytes.toString("latin1", 30, 46)).toBe("archive/data.pkl");
    const pickle =
      "\x80\x02ccollections\nOrderedDict\nq\x00)R(" +
      "X\x0b\0\0\0conv.weight" +
      "ctorch._utils\n_rebuild_tensor_v2\nq\x01((X\x07\0\0\0storageq\x02ctorch\nFloatStorage\nq\x03" +
      "X\x01\0\0\x000X\x03\0\0\0cpuq\x04K\x06tQK\x00(K\x02K\x01K\x01K\x03t(K\x03K\x03K\x03K\x01t" +
      "\x89h\x00)RtRu.";
    expect(bytes.toString("latin1", 64, 64 + pickle.length)).toBe(pickle);
  });

  it("has the content of every entry at a multiple of 64 bytes", () => {
    const bytes = readFileSync(write());
    const positions: number[] = [];
    for (
      let at = bytes.indexOf("PK\x01\x02");
      at !== -1;
      at = bytes.indexOf("PK\x01\x02", at + 1)
    ) {
      const header = bytes.readUInt32LE(at + 42);
      positions.push(
        header + 30 + bytes.readUInt16LE(header + 26) + bytes.readUInt16LE(header + 28),
      );
    }
    expect(positions).toHaveLength(ENTRIES.length + 3);
    expect(positions.map((position) => position % 64)).toEqual(positions.map(() => 0));
  });

  it("reads back as it was given", () => {
    const file = openTensorFile(write());
    expect(file.container).toBe("pytorch-zip");
    expect(Array.from(file.tensors.values(), ({ dtype }) => dtype)).toEqual([
      ...["F32", "I64", "F64", "F32", "F32", "F32"],
    ]);
    expect(file.extras.size).toBe(0);
    const tensors = readAll(file);
    expect([...tensors.keys()]).toEqual(ENTRIES.map(({ name }) => name));
    expect(tensors.get("conv.weight")).toEqual({
      shape: [2, 1, 1, 3],
      data: Float32Array.of(1, 2, 3, 4, 5, 6),
    });
    expect(tensors.get("bn.num_batches_tracked")).toEqual({
      shape: [],
      data: BigInt64Array.of(-1099511627776n),
    });
    expect(tensors.get("größe")!.data).toEqual(Float64Array.of(0.1));
    expect(tensors.get("half")!.data).toEqual(Float32Array.of(0.5));
    expect(tensors.get("none")).toEqual({ shape: [0, 3], data: new Float32Array(0) });
    expect(tensors.get("lazy")!.data).toEqual(new Float32Array(70_000).fill(0.25));
  });

  it("may hold thousands of tensors", () => {
    const names = Array.from({ length: 2500 }, (_, i) => `layer${i}.weight`);
    const path = write(
      names.map((name, i) => ({ name, tensor: { shape: [1], data: Float32Array.of(i) } })),
    );
    const tensors = readAll(openTensorFile(path));
    expect([...tensors.keys()]).toEqual(names);
    expect(tensors.get("layer2499.weight")!.data).toEqual(Float32Array.of(2499));
  });

  it("is the same bytes each time", () => {
    const first = readFileSync(write());
    expect(readFileSync(write()).equals(first)).toBe(true);
  });
});

describe("a .pth with values beside the state dict", () => {
  it("is a dict of those values and of the state dict, in this order", () => {
    const bytes = readFileSync(write([], WRAPPING));
    const text = (value: string) => `X${String.fromCharCode(value.length)}\0\0\0${value}`;
    const pickle =
      `\x80\x02}(${text("epoch")}M\x2c\x01${text("arch")}${text("RepVGG-A0")}` +
      `${text("step")}\x8a\x08\0\0\0\0\0\x01\0\0` +
      `${text("state_dict")}ccollections\nOrderedDict\nq\0)Ru.`;
    expect(bytes.includes(Buffer.from(pickle, "latin1"))).toBe(true);
  });

  it("is found again by the reader", () => {
    const file = openTensorFile(write(ENTRIES, WRAPPING));
    expect(file.root).toBe("state_dict");
    expect([...file.extras]).toEqual([...WRAPPING.beside]);
    expect([...readAll(file).keys()]).toEqual(ENTRIES.map(({ name }) => name));
  });
});

const python = process.env["REPKIT_TEST_PYTHON"] ?? "/usr/bin/python3";
const probe = spawnSync(python, ["-c", "import torch; print(torch.__version__)"], {
  encoding: "utf8",
});
const torch = probe.status === 0 ? probe.stdout.trim() : undefined;

const DESCRIBE = `
import json, sys, torch
state = torch.load(sys.argv[1], weights_only=True)
beside = [type(state).__name__]
if type(state) is dict:
    beside.append({k: v for k, v in state.items() if k != "state_dict"})
    state = state["state_dict"]
print(json.dumps([*beside, [
    [name, str(t.dtype), list(t.shape), t.is_contiguous(), t.requires_grad, str(t.device),
     t.flatten()[:6].tolist()] for name, t in state.items()]]))
`;

describe("PyTorch", () => {
  const test = torch === undefined ? it.skip : it;
  const who = torch === undefined ? `skipped: ${python} has no torch` : `torch ${torch}`;

  test(`opens a written .pth with weights_only=True (${who})`, () => {
    const result = spawnSync(python, ["-c", DESCRIBE, write()], { encoding: "utf8" });
    expect(result.stderr).not.toContain("Error");
    const rest = [true, false, "cpu"];
    expect(JSON.parse(result.stdout)).toEqual([
      "OrderedDict",
      [
        ["conv.weight", "torch.float32", [2, 1, 1, 3], ...rest, [1, 2, 3, 4, 5, 6]],
        ["bn.num_batches_tracked", "torch.int64", [], ...rest, [-1099511627776]],
        ["größe", "torch.float64", [1], ...rest, [0.1]],
        ["half", "torch.float32", [1], ...rest, [0.5]],
        ["none", "torch.float32", [0, 3], ...rest, []],
        ["lazy", "torch.float32", [70_000], ...rest, [0.25, 0.25, 0.25, 0.25, 0.25, 0.25]],
      ],
    ]);
  }, 60_000);

  test(`opens one with values beside the state dict (${who})`, () => {
    const path = write([ENTRIES[3]!], WRAPPING);
    const result = spawnSync(python, ["-c", DESCRIBE, path], { encoding: "utf8" });
    expect(result.stderr).not.toContain("Error");
    expect(JSON.parse(result.stdout)).toEqual([
      "dict",
      { epoch: 300, arch: "RepVGG-A0", step: 2 ** 40 },
      [["half", "torch.float32", [1], true, false, "cpu", [0.5]]],
    ]);
  }, 60_000);
});
