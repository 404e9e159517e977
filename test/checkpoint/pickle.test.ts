// The pickle reader: what each opcode yields, what becomes inert data, and what is refused.

import { describe, expect, it } from "@jest/globals";

import {
  openTensorFile,
  type ExtraValue,
  type InertValue,
  type StoredTensor,
  type TensorFile,
} from "../../src/checkpoint/index.js";
import { archive, floats, pickle, refusal, temporaryFolder } from "./support.js";

const folder = temporaryFolder();
const { text, int, float, tuple, dict, call, global } = pickle;
const WEIGHTS = dict(text("w"), pickle.tensor("0", [2]));

let files = 0;

function open(data: Buffer): TensorFile {
  const bytes = archive(data, { "0": floats(1, 2) });
  return openTensorFile(folder.place(`${files++}.pth`, bytes));
}

/** `{"state_dict": {"w": tensor}, "x": value}` */
function beside(...value: (string | Buffer)[]): Buffer {
  return pickle.of(dict(text("state_dict"), WEIGHTS, text("x"), pickle.raw(...value)));
}

/** What a value beside the weights is read as. */
function read(...value: (string | Buffer)[]): ExtraValue | undefined {
  const file = open(beside(...value));
  file.close();
  return file.extras.get("x");
}

function refused(...value: (string | Buffer)[]) {
  return refusal(() => open(beside(...value)));
}

function sized(opcode: string, content: string, width: 1 | 4 | 8): Buffer {
  const length = Buffer.alloc(8);
  length.writeBigUInt64LE(BigInt(Buffer.byteLength(content, "latin1")));
  return Buffer.concat([
    Buffer.from(opcode, "latin1"),
    length.subarray(0, width),
    Buffer.from(content, "latin1"),
  ]);
}

describe("literals", () => {
  it.each<[name: string, code: string | Buffer, value: unknown]>([
    ["NONE", "N", null],
    ["NEWTRUE", "\x88", true],
    ["NEWFALSE", "\x89", false],
    ["INT", "I-42\n", -42],
    ["INT as a bool", "I01\n", true],
    ["INT as the other bool", "I00\n", false],
    ["BININT, negative", int(-2), -2],
    ["BININT1", "K\xff", 255],
    ["BININT2", "M\x01\x02", 513],
    ["LONG", "L9007199254740993L\n", 9007199254740993n],
    ["LONG without its suffix", "L-7\n", -7],
    ["LONG1, empty", "\x8a\x00", 0],
    ["LONG1, -1", "\x8a\x01\xff", -1],
    ["LONG1, -2^63", "\x8a\x08\x00\x00\x00\x00\x00\x00\x00\x80", -(2n ** 63n)],
    ["LONG1, 255", "\x8a\x02\xff\x00", 255],
    ["LONG4", "\x8b\x02\x00\x00\x00\x00\x01", 256],
    ["FLOAT", "F-1.5e3\n", -1500],
    ["FLOAT inf", "F-inf\n", -Infinity],
    ["BINFLOAT", float(0.1), 0.1],
    ["BINFLOAT nan", float(NaN), NaN],
    ["STRING", "S'it\\'s\\n\\x41'\n", "it's\nA"],
    ["STRING in double quotes", 'S"a"\n', "a"],
    ["BINSTRING", sized("T", "plain", 4), "plain"],
    ["SHORT_BINSTRING that is no UTF-8", sized("U", "\xe9", 1), "é"],
    ["UNICODE", "Va\\u00e9\\U0001F600\\n\n", "aé😀\\n"],
    ["BINUNICODE", text("größe"), "größe"],
    ["SHORT_BINUNICODE", sized("\x8c", "abc", 1), "abc"],
    ["BINUNICODE8", sized("\x8d", "abc", 8), "abc"],
    ["BINBYTES", sized("B", "\x00\xff", 4), Uint8Array.of(0, 255)],
    ["SHORT_BINBYTES", sized("C", "a", 1), Uint8Array.of(97)],
    ["BINBYTES8", sized("\x8e", "a", 8), Uint8Array.of(97)],
    ["BYTEARRAY8", sized("\x96", "a", 8), Uint8Array.of(97)],
  ])("%s", (_, code, value) => {
    expect(read(code)).toEqual(value);
  });
});

describe("containers and the machine", () => {
  it.each<[name: string, code: string | Buffer, value: unknown]>([
    ["EMPTY_LIST, APPEND", "]K\x01a", [1]],
    ["APPENDS", "](K\x01K\x02e", [1, 2]],
    ["LIST", "(K\x01K\x02l", [1, 2]],
    ["EMPTY_TUPLE", ")", []],
    ["TUPLE1", "K\x01\x85", [1]],
    ["TUPLE2", "K\x01K\x02\x86", [1, 2]],
    ["TUPLE3", "K\x01K\x02K\x03\x87", [1, 2, 3]],
    ["TUPLE", "(K\x01K\x02K\x03K\x04t", [1, 2, 3, 4]],
    ["EMPTY_DICT, SETITEM", "}K\x01K\x02s", new Map([[1, 2]])],
    ["SETITEMS, the last one counts", "}(K\x01K\x02K\x01K\x03u", new Map([[1, 3]])],
    ["DICT", "(K\x01K\x02d", new Map([[1, 2]])],
    ["a dict with a tuple as key", "}K\x01K\x02\x86K\x03s", new Map([["(1, 2)", 3]])],
    ["EMPTY_SET, ADDITEMS", "\x8f(K\x01K\x02\x90", [1, 2]],
    ["FROZENSET", "(K\x01\x91", [1]],
    ["POP", "K\x01K\x020", 1],
    ["POP of a mark", "K\x01(0", 1],
    ["POP_MARK", "K\x01(K\x02K\x031", 1],
    ["DUP", "K\x012\x86", [1, 1]],
    ["PUT, GET", "K\x07p12\n0g12\n", 7],
    ["BINPUT, BINGET", "K\x07q\x050h\x05", 7],
    ["LONG_BINPUT, LONG_BINGET", "K\x07r\xff\xff\xff\xff0j\xff\xff\xff\xff", 7],
    ["MEMOIZE", "K\x07\x940h\x00", 7],
    ["FRAME", "\x95\x02\x00\x00\x00\x00\x00\x00\x00K\x07", 7],
  ])("%s", (_, code, value) => {
    expect(read(code)).toEqual(value);
  });

  it.each<[problem: string, code: string | Buffer]>([
    ["an unknown opcode", "\xff"],
    ["a pickle protocol of the future", "\x80\x06N"],
    ["an empty stack", "0000000000"],
    ["a tuple beyond a mark", "(K\x01\x86"],
    ["a missing mark", "ttt"],
    ["a memo that was never set", "h\x77"],
    ["a key without a value", "}(K\x01u"],
    ["an item added to a tuple", ")K\x01a"],
    ["an entry added to a list", "]K\x01K\x02s"],
    ["attributes on a list", "]}b"],
    ["a call of a number", "K\x01)R"],
    ["arguments that are no tuple", pickle.raw(global("collections.OrderedDict"), "]R")],
    ["an object without a class", "K\x01)\x81"],
    ["a string that is no UTF-8", sized("X", "\xff", 4)],
    ["an integer that is none", "Iabc\n"],
    ["a float that is none", "F1,5\n"],
    ["a string without its quote", "S'abc\n"],
    ["a negative memo index", "K\x01p-1\n"],
    ["an integer of a million digits", `L${"9".repeat(1_000_000)}L\n`],
    ["an integer of a million bytes", sized("\x8b", "\x01".repeat(1_000_000), 4)],
    ["a global without a name", "c\nsystem\n"],
    ["a reference to something else than a storage", pickle.raw(text("0"), "Q")],
    ["a storage with a negative size", pickle.raw(pickle.storage("0", -1))],
    ["a tensor with a negative offset", pickle.tensor("0", [2], { offset: -1 })],
    ["a tensor with too few strides", pickle.tensor("0", [2, 1], { stride: [1] })],
    ["a dict made of numbers", call("collections.OrderedDict", "](K\x01K\x02e")],
  ])("%s is corrupt", (_, code) => {
    expect(refused(code).reason).toBe("corrupt");
  });

  it.each([
    "X\xff\xff\xff\x7f",
    "\x8d\xff\xff\xff\xff\xff\xff\xff\x7f",
    "\x8b\xff\xff\xff\xff",
    "T\xff\xff\xff\xff",
  ])("a length beyond the file allocates nothing: %j", (code) => {
    expect(refused(code).reason).toBe("corrupt");
  });

  it("an extension registry is unsupported", () => {
    expect(refused("\x82\x01").reason).toBe("unsupported");
  });

  it("a pickle without an end is corrupt", () => {
    expect(refusal(() => open(Buffer.from("\x80\x02}", "latin1"))).reason).toBe("corrupt");
  });
});

describe("harmless values", () => {
  it.each<[name: string, code: string | Buffer, value: unknown]>([
    ["a Python 2 set", pickle.raw("c__builtin__\nset\n", tuple("](K\x01K\x02e"), "R"), [1, 2]],
    ["frozenset", call("builtins.frozenset", "](K\x01e"), [1]],
    ["a Counter", call("collections.Counter", dict(text("a"), int(2))), new Map([["a", 2]])],
    [
      "a defaultdict with its entries",
      pickle.raw(call("collections.defaultdict", global("builtins.list")), text("a"), "K\x01s"),
      new Map([["a", 1]]),
    ],
    [
      "an OrderedDict of pairs",
      call("collections.OrderedDict", "](](K\x01K\x02ee"),
      new Map([[1, 2]]),
    ],
    [
      "bytes of protocol 2",
      call("_codecs.encode", text("a\xff"), text("latin1")),
      Uint8Array.of(97, 255),
    ],
    ["torch.Size", call("torch.Size", "(K\x02K\x03t"), [2, 3]],
    ["torch.device", call("torch.device", text("cuda"), int(1)), "cuda:1"],
    ["a dtype", global("torch.float16"), "torch.float16"],
    [
      "a numpy float64",
      call(
        "numpy.core.multiarray.scalar",
        pickle.raw(
          call("numpy.dtype", text("f8"), "\x89", "\x88"),
          tuple("K\x03", text("<"), "NNN", int(-1), int(-1), "K\x00"),
          "b",
        ),
        sized("C", "\x00\x00\x00\x00\x00\x00\xf8\x3f", 1),
      ),
      1.5,
    ],
  ])("%s", (_, code, value) => {
    const file = open(beside(code));
    file.close();
    expect(file.extras.get("x")).toEqual(value);
    expect(file.inertGlobals).toEqual([]);
  });

  it.each(["pathlib.PosixPath", "datetime.datetime", "builtins.complex", "builtins.slice"])(
    "%s keeps its arguments",
    (name) => {
      const file = open(beside(call(name, text("a"), "K\x01")));
      file.close();
      expect(file.inertGlobals).toEqual([]);
      expect(file.extras.get("x")).toMatchObject({ kind: "inert", global: name, args: ["a", 1] });
    },
  );

  it("tensors beside the weights are read when asked for", () => {
    const value = read("](", pickle.tensor("0", [2]), "e") as readonly StoredTensor[];
    expect(value[0]).toMatchObject({ kind: "tensor", dtype: "F32", shape: [2] });
  });
});

describe("unknown classes become inert data", () => {
  // yacs.config.CfgNode is a dict with attributes; RepVGG saves one beside "model".
  const cfgNode = (name: string, ...entries: (string | Buffer)[]) =>
    pickle.raw(
      global(name),
      ")\x81(",
      ...entries,
      "u",
      dict(text("__immutable__"), "\x88", text("__deprecated_keys__"), call("builtins.set", "]")),
      "b",
    );

  it("a nested yacs CfgNode, as RepVGG's checkpoints hold", () => {
    const inner = cfgNode("yacs.config.CfgNode", text("BASE_LR"), float(0.1));
    const outer = cfgNode("yacs.config.CfgNode", text("EPOCHS"), int(120), text("TRAIN"), inner);
    const file = open(
      pickle.of(dict(text("model"), WEIGHTS, text("config"), outer, text("epoch"), int(119))),
    );
    expect(file.root).toBe("model");
    expect(file.get("w")!.data).toEqual(Float32Array.of(1, 2));
    expect(file.inertGlobals).toEqual(["yacs.config.CfgNode"]);
    expect(file.extras.get("epoch")).toBe(119);
    const config = file.extras.get("config") as InertValue;
    expect(config).toMatchObject({ kind: "inert", global: "yacs.config.CfgNode" });
    expect(config.entries.get("EPOCHS")).toBe(120);
    expect((config.entries.get("TRAIN") as InertValue).entries.get("BASE_LR")).toBe(0.1);
    expect(config.state).toEqual(
      new Map<string, unknown>([
        ["__immutable__", true],
        ["__deprecated_keys__", []],
      ]),
    );
    file.close();
  });

  it("an argparse.Namespace", () => {
    const code = pickle.raw(
      global("argparse.Namespace"),
      ")\x81",
      dict(text("lr"), float(0.5)),
      "b",
    );
    const value = read(code) as InertValue;
    expect(value.global).toBe("argparse.Namespace");
    expect(value.state).toEqual(new Map([["lr", 0.5]]));
  });

  it("a list subclass, in every way to construct one", () => {
    const made = ")\x81](K\x01e0K\x01a";
    for (const code of [
      `cmy.mod\nList\n${made}`,
      "(cmy.mod\nList\noK\x01a",
      "(imy.mod\nList\nK\x01a",
      "cmy.mod\nList\n)}\x92K\x01a",
      "ccopyreg\n__newobj__\n(cmy.mod\nList\ntRK\x01a",
      "ccopy_reg\n_reconstructor\n(cmy.mod\nList\nc__builtin__\nobject\nNtRK\x01a",
      "X\x06\x00\x00\x00my.modX\x04\x00\x00\x00List\x93)\x81K\x01a",
    ]) {
      const value = read(code) as InertValue;
      expect(value).toMatchObject({ kind: "inert", global: "my.mod.List", items: [1] });
    }
  });

  it("a dict subclass of protocol 1 keeps its entries", () => {
    const code = pickle.raw(
      "ccopy_reg\n_reconstructor\n(cmy.mod\nDict\nc__builtin__\ndict\n",
      dict(text("a"), int(1)),
      "tR",
    );
    expect((read(code) as InertValue).entries).toEqual(new Map([["a", 1]]));
  });

  it("a class or function that is only mentioned", () => {
    const file = open(beside(global("my.mod.Loss")));
    file.close();
    expect(file.extras.get("x")).toBe("my.mod.Loss");
    expect(file.inertGlobals).toEqual(["my.mod.Loss"]);
  });
});

describe("what is refused, by name", () => {
  it.each<[code: string | Buffer, globals: string[]]>([
    [call("my.mod.f", text("a")), ["my.mod.f"]],
    ["cos\nsystem\n", ["os.system"]],
    ["cposix\nsystem\n)\x81", ["posix.system"]],
    ["(X\x02\x00\x00\x00lsios\nsystem\n", ["os.system"]],
    ["(cos\nsystem\nX\x02\x00\x00\x00lso", ["os.system"]],
    ["X\x02\x00\x00\x00osX\x06\x00\x00\x00system\x93", ["os.system"]],
    ["X\x08\x00\x00\x00builtinsX\x04\x00\x00\x00eval\x93", ["builtins.eval"]],
    ["c__builtin__\n__import__\n", ["builtins.__import__"]],
    ["ctorch.serialization\nload\n", ["torch.serialization.load"]],
    ["ctorch.storage\n_load_from_bytes\n", ["torch.storage._load_from_bytes"]],
    ["ctorch.hub\nload\n", ["torch.hub.load"]],
    ["ctorch\nload\n", ["torch.load"]],
    ["cmy.mod\nos.system\n", ["my.mod.os.system"]],
    ["cmy.mod\nf.__globals__\n", ["my.mod.f.__globals__"]],
    ["csubprocess\nPopen\n)\x81", ["subprocess.Popen"]],
    ["cfunctools\npartial\n", ["functools.partial"]],
    ["crunpy\n_run_code\n", ["runpy._run_code"]],
    // Attributes set on a class change the class.
    [pickle.raw(global("my.mod.C"), dict(text("a"), int(1)), "b"), ["my.mod.C"]],
    // What a call returned is called in turn.
    [pickle.raw(global("my.mod.C"), ")\x81)R"), ["my.mod.C"]],
    // Names that are only mentioned are listed too, in order.
    [
      pickle.raw("](", global("a.B"), call("builtins.set", "]"), call("c.d"), "e"),
      ["a.B", "builtins.set", "c.d"],
    ],
  ])("%j", (code, globals) => {
    const { reason, details, message } = refused(code);
    expect(reason).toBe("unsafe-pickle");
    expect(details["globals"]).toEqual(globals);
    expect(message).toContain(globals.at(-1));
    expect(message).not.toContain("\n");
  });

  it("a call behind which the pickle breaks off is still a call", () => {
    const cut = pickle.raw("\x80\x02", call("os.system", text("ls")), "\xff");
    expect(refusal(() => open(cut)).reason).toBe("unsafe-pickle");
  });

  it("a name with control characters cannot reach the terminal", () => {
    const { message } = refused("cos\n\x1b[2Jx\n");
    expect(message).toContain("os.\\u{1b}[2Jx");
  });

  it("a model under a customary key that is an object, whatever else the file holds", () => {
    const object = pickle.raw(
      global("my.Net"),
      ")\x81",
      dict(text("a"), pickle.tensor("0", [2])),
      "b",
    );
    const { reason, details } = refusal(() =>
      open(pickle.of(dict(text("model"), object, text("other"), WEIGHTS))),
    );
    expect(reason).toBe("unsafe-pickle");
    expect(details["globals"]).toEqual(["my.Net"]);
  });
});

describe("hostile shapes", () => {
  it("nesting a million deep is read without recursion", () => {
    const code = pickle.raw("]".repeat(1_000_000), "a".repeat(999_999));
    expect(JSON.stringify(read(code))).toContain("(too large)");
  });

  it("a list that contains itself is cut", () => {
    expect(read("]q\x00h\x00a")).toMatchObject([{ kind: "inert", global: "(cycle)" }]);
  });

  it("a list shared a billion times does not unfold", () => {
    // Each of 30 lists holds the previous one twice.
    const code = "]q\x00" + Array.from({ length: 30 }, () => "q\x000]h\x00ah\x00a").join("");
    const size = JSON.stringify(read(code)).length;
    expect(size).toBeLessThan(1_000_000);
  });

  it("copies of copies end where they outgrow the file", () => {
    const list = `](${"N".repeat(10_000)}eq\x000`;
    const copies = `cbuiltins\nset\nq\x010](${"h\x01h\x00\x85R".repeat(10_000)}e`;
    expect(refused(list, copies).reason).toBe("corrupt");
  });
});
