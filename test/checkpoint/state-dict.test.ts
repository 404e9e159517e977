// Where in a PyTorch file the weights are found, and how views of storages become tensors.

import { describe, expect, it } from "@jest/globals";

import { openTensorFile, type InertValue, type TensorFile } from "../../src/checkpoint/index.js";
import { archive, floats, legacyFile, pickle, refusal, temporaryFolder } from "./support.js";

const folder = temporaryFolder();
const { text, int, dict, global } = pickle;
const STORAGES = { "0": floats(1, 2), "1": floats(3, 4), "2": floats(5, 6) };

let files = 0;

function open(value: Buffer, root?: string): TensorFile {
  const path = folder.place(`${files++}.pth`, archive(pickle.of(value), STORAGES));
  return openTensorFile(path, root === undefined ? {} : { root });
}

/** A state dict of tensors `[2]`, all on the storage of that key. */
function state(key: keyof typeof STORAGES, ...names: string[]): Buffer {
  return dict(...names.flatMap((name) => [text(name), pickle.tensor(key, [2])]));
}

/** What the file's tensor "w" begins with tells its storage. */
function firstOf(file: TensorFile): unknown {
  file.close();
  return file.root;
}

describe("the weights", () => {
  it.each<[root: string, value: Buffer]>([
    ["", state("0", "w")],
    ["state_dict", dict(text("state_dict"), state("0", "w"), text("epoch"), int(3))],
    ["model", dict(text("epoch"), int(3), text("model"), state("0", "w"))],
    ["model.state_dict", dict(text("model"), dict(text("state_dict"), state("0", "w")))],
    ["my_network", dict(text("my_network"), state("0", "w"), text("step"), int(1))],
    // A metric that is a tensor does not make the top level a state dict.
    [
      "my_network",
      dict(text("best"), pickle.tensor("1", [2]), text("my_network"), state("0", "a", "b")),
    ],
    ["", dict(text("w"), pickle.tensor("0", [2]), text("epoch"), int(3))],
    // An optimizer's slots are no weights.
    ["", dict(text("w"), pickle.tensor("0", [2]), text("optimizer"), state("1", "a", "b", "c"))],
  ])('are found at "%s"', (root, value) => {
    expect(firstOf(open(value))).toBe(root);
  });

  it("are preferred to their moving average, which is an alternative", () => {
    const value = dict(
      ...[text("model_ema"), state("1", "module.w")],
      ...[text("model"), state("0", "w")],
    );
    const file = open(value);
    expect(file.root).toBe("model");
    expect(file.alternatives).toEqual(["model_ema"]);
    expect(file.get("w")!.data).toEqual(Float32Array.of(1, 2));
    file.close();

    const average = open(value, "model_ema");
    expect(average.root).toBe("model_ema");
    expect(average.alternatives).toEqual(["model"]);
    expect(average.get("w")!.data).toEqual(Float32Array.of(3, 4));
    average.close();
  });

  it("are asked for where two networks lie side by side", () => {
    const value = dict(text("model"), state("0", "a"), text("net"), state("1", "b"));
    const { reason, details, message } = refusal(() => open(value));
    expect(reason).toBe("unsupported");
    expect(details["alternatives"]).toEqual(["model", "net"]);
    expect(message).toContain('"model", "net"');
    expect(firstOf(open(value, "net"))).toBe("net");
  });

  it("are missed where a place is asked for that has none", () => {
    const { reason, message } = refusal(() => open(dict(text("ema"), state("0", "w")), "model"));
    expect(reason).toBe("not-a-checkpoint");
    expect(message).toContain('holds no tensors at "model"; there are some at "ema"');
  });

  it.each<[what: string, value: Buffer]>([
    ["a number", int(1)],
    ["nothing but settings", dict(text("epoch"), int(1))],
    ["a single tensor", pickle.tensor("0", [2])],
    ["a list of tensors", pickle.raw("](", pickle.tensor("0", [2]), "e")],
    ["numbered tensors", dict(int(0), pickle.tensor("0", [2]))],
  ])("%s is not a checkpoint", (_, value) => {
    expect(refusal(() => open(value)).reason).toBe("not-a-checkpoint");
  });

  it("that are quantized or sparse are unsupported, and named", () => {
    const quantized = pickle.call("torch._utils._rebuild_qtensor", pickle.storage("0", 2));
    const dense = [text("a"), pickle.tensor("0", [2])];
    for (const value of [
      dict(...dense, text("q"), quantized),
      dict(text("q"), quantized),
      dict(text("state_dict"), dict(...dense, text("q"), quantized)),
    ]) {
      const { reason, details } = refusal(() => open(value));
      expect(reason).toBe("unsupported");
      expect(details["tensor"]).toBe("q");
    }
    expect(refusal(() => open(quantized)).reason).toBe("unsupported");
  });

  it("of complex numbers are unsupported, and named; beside the weights they are inert", () => {
    const complex = pickle.tensor("0", [1], { type: "ComplexFloatStorage" });
    const { reason, details } = refusal(() => open(dict(text("c"), complex)));
    expect(reason).toBe("unsupported");
    expect(details["tensor"]).toBe("c");
    const file = open(dict(text("model"), state("0", "w"), text("c"), complex));
    expect((file.extras.get("c") as InertValue).global).toBe("torch.ComplexFloatStorage");
    file.close();
  });

  it("keep what lies between them", () => {
    const inner = dict(text("w"), pickle.tensor("0", [2]), text("_extra_state"), text("x"));
    const file = open(dict(text("model"), inner, text("epoch"), int(2)));
    expect([...file.tensors.keys()]).toEqual(["w"]);
    expect(file.extras).toEqual(
      new Map<string, unknown>([
        ["model", new Map([["_extra_state", "x"]])],
        ["epoch", 2],
      ]),
    );
    file.close();
  });
});

describe("a prefix", () => {
  it.each<[prefix: string, names: string[], stripped: string[]]>([
    ["module.", ["module.a", "module.b.c"], ["a", "b.c"]],
    ["_orig_mod.", ["_orig_mod.a"], ["a"]],
    ["module._orig_mod.", ["module._orig_mod.a"], ["a"]],
    ["_orig_mod.module.", ["_orig_mod.module.a"], ["a"]],
    // Once only: the second is the network's own.
    ["module.", ["module.module.a", "module.module.b"], ["module.a", "module.b"]],
    // Only where every name has it, and only in front.
    ["", ["module.a", "b"], ["module.a", "b"]],
    ["", ["a.module.b"], ["a.module.b"]],
    ["", ["module."], ["module."]],
    ["", ["modulea", "module.b"], ["modulea", "module.b"]],
  ])('"%s" of %j', (prefix, names, stripped) => {
    const file = open(state("0", ...names));
    expect(file.strippedPrefix).toBe(prefix);
    expect([...file.tensors.keys()]).toEqual(stripped);
    expect(file.tensors.get(stripped[0]!)!.name).toBe(stripped[0]);
    expect(file.get(stripped[0]!)!.data).toEqual(Float32Array.of(1, 2));
    expect(file.get("nothing")).toBeUndefined();
    file.close();
  });

  it("is taken from the names of module versions too", () => {
    const version = (value: number) => dict(text("version"), int(value));
    const metadata = dict(
      ...[text(""), version(1), text("module"), version(7), text("module.bn"), version(2)],
    );
    const value = pickle.raw(
      pickle.call("collections.OrderedDict"),
      ...["(", text("module.bn.weight"), pickle.tensor("0", [2]), "u"],
      ...[dict(text("_metadata"), metadata), "b"],
    );
    const file = open(value);
    expect(Object.fromEntries(file.moduleVersions)).toEqual({ "": 7, bn: 2 });
    file.close();
  });
});

describe("views", () => {
  const counting = (count: number) => Buffer.from(new Float32Array(count).map((_, i) => i).buffer);
  const view = (options: object, shape: number[], elements = 24): TensorFile => {
    const tensor = pickle.tensor("0", shape, { elements, ...options });
    const bytes = archive(pickle.of(dict(text("w"), tensor)), { "0": counting(24) });
    return openTensorFile(folder.place(`${files++}.pth`, bytes));
  };
  const values = (options: object, shape: number[]): number[] => {
    const file = view(options, shape);
    const { shape: found, data } = file.get("w")!;
    file.close();
    expect(found).toEqual(shape);
    return Array.from(data, Number);
  };

  it.each<[what: string, options: object, shape: number[], values: number[]]>([
    ["a slice", { offset: 5 }, [3], [5, 6, 7]],
    ["every third element", { offset: 1, stride: [3] }, [4], [1, 4, 7, 10]],
    ["a transpose", { stride: [1, 4] }, [4, 2], [0, 4, 1, 5, 2, 6, 3, 7]],
    ["one element repeated", { offset: 9, stride: [0, 0] }, [2, 2], [9, 9, 9, 9]],
    ["overlapping windows", { stride: [1, 1] }, [3, 2], [0, 1, 1, 2, 2, 3]],
    [
      "three axes reversed",
      { stride: [1, 2, 6] },
      [2, 3, 2],
      [0, 6, 2, 8, 4, 10, 1, 7, 3, 9, 5, 11],
    ],
    [
      "channels last",
      { stride: [8, 1, 4, 2] },
      [2, 2, 2, 2],
      [0, 2, 4, 6, 1, 3, 5, 7, 8, 10, 12, 14, 9, 11, 13, 15],
    ],
    ["a scalar", { offset: 23, stride: [] }, [], [23]],
    ["an axis of one with any stride", { stride: [999, 1] }, [1, 3], [0, 1, 2]],
    ["an empty tensor", { offset: 24, stride: [3, 1] }, [0, 3], []],
    ["an empty tensor far outside", { offset: 999 }, [0], []],
  ])("%s", (_, options, shape, expected) => {
    expect(values(options, shape)).toEqual(expected);
  });

  it.each<[what: string, options: object, shape: number[]]>([
    ["one element too long", { offset: 22 }, [3]],
    ["a stride too wide", { stride: [8] }, [4]],
    ["an offset behind the end", { offset: 24, stride: [] }, []],
    ["repeated to a size no file justifies", { stride: [0, 0] }, [100_000, 100_000]],
    ["more than 2^53 elements", { stride: [0, 0, 0] }, [2 ** 31 - 1, 2 ** 31 - 1, 2 ** 31 - 1]],
  ])("%s is refused", (_, options, shape) => {
    const { reason, details } = refusal(() => view(options, shape));
    expect(reason).toBe("storage-size");
    expect(details["tensor"]).toBe("w");
  });

  it("views that repeat one storage without end are refused together", () => {
    const names = Array.from({ length: 200 }, (_, i) => `w${i}`);
    const tensors = names.flatMap((name) => [
      text(name),
      pickle.tensor("0", [512, 512], { stride: [0, 0], elements: 1 }),
    ]);
    const bytes = archive(pickle.of(dict(...tensors)), { "0": floats(1) });
    const path = folder.place("many.pth", bytes);
    expect(refusal(() => openTensorFile(path)).reason).toBe("storage-size");
  });

  it("a view of an old file lies inside its part of the storage", () => {
    const part = (offset: number, size: number): Buffer =>
      pickle.raw(
        pickle.tuple(
          ...[text("storage"), global("torch.FloatStorage"), text("0"), text("cpu"), int(24)],
          pickle.tuple(text("0v"), int(offset), int(size)),
        ),
        "Q",
      );
    const file = (storage: Buffer): Buffer => {
      const rebuilt = pickle.call(
        ...(["torch._utils._rebuild_tensor", storage, int(1)] as const),
        ...[pickle.tuple(int(2)), pickle.tuple(int(1))],
      );
      return legacyFile(pickle.of(dict(text("w"), rebuilt)), [["0", 24, counting(24)]]);
    };
    const opened = openTensorFile(folder.place("view.pth", file(part(10, 3))));
    expect(opened.get("w")!.data).toEqual(Float32Array.of(11, 12));
    opened.close();
    for (const storage of [part(10, 2), part(23, 3)]) {
      const path = folder.place("bad-view.pth", file(storage));
      expect(refusal(() => openTensorFile(path)).reason).toBe("storage-size");
    }
  });
});

describe("rebuilding", () => {
  const single = (code: Buffer) => {
    const file = open(dict(text("w"), code));
    const tensor = file.get("w")!;
    file.close();
    return tensor;
  };

  it("_rebuild_tensor_v3 sees the bytes of a storage as another type", () => {
    const code = pickle.call(
      ...(["torch._utils._rebuild_tensor_v3", pickle.storage("0", 8, "UntypedStorage")] as const),
      ...[int(1), pickle.tuple(int(3)), pickle.tuple(int(1)), "\x89"],
      ...[pickle.call("collections.OrderedDict"), global("torch.int16")],
    );
    // Float32 1, 2 are the halfwords 0, 0x3f80, 0, 0x4000.
    expect(single(code)).toEqual({ shape: [3], data: BigInt64Array.of(0x3f80n, 0n, 0x4000n) });
  });

  it("a parameter with attributes", () => {
    const code = pickle.call(
      ...(["torch._utils._rebuild_parameter_with_state", pickle.tensor("1", [2])] as const),
      ...["\x88", pickle.call("collections.OrderedDict"), dict(text("note"), text("x"))],
    );
    expect(single(code).data).toEqual(Float32Array.of(3, 4));
  });

  it("a tensor of a subclass", () => {
    const args = pickle.tuple(
      ...[pickle.storage("2", 2), int(0), pickle.tuple(int(2)), pickle.tuple(int(1))],
    );
    const code = pickle.call(
      ...([
        "torch._tensor._rebuild_from_type_v2",
        global("torch._utils._rebuild_tensor_v2"),
      ] as const),
      ...[global("torch.nn.parameter.Parameter"), args, dict()],
    );
    expect(single(code).data).toEqual(Float32Array.of(5, 6));
  });
});

describe("the older container", () => {
  const weights = pickle.of(dict(text("w"), pickle.tensor("k", [2])));
  const reasonFor = (bytes: Buffer): unknown =>
    refusal(() => openTensorFile(folder.place("old.pth", bytes))).reason;

  it("is read", () => {
    const path = folder.place("good.pth", legacyFile(weights, [["k", 2, floats(7, 8)]]));
    const file = openTensorFile(path);
    expect(file.container).toBe("pytorch-legacy");
    expect(file.get("w")).toEqual({ shape: [2], data: Float32Array.of(7, 8) });
    file.close();
  });

  it("finds each storage behind those before it", () => {
    const two = dict(text("a"), pickle.tensor("x", [1]), text("b"), pickle.tensor("y", [2]));
    const bytes = legacyFile(pickle.of(two), [
      ["y", 2, floats(1, 2)],
      ["x", 1, floats(3)],
    ]);
    const file = openTensorFile(folder.place("two.pth", bytes));
    expect(file.get("a")!.data).toEqual(Float32Array.of(3));
    expect(file.get("b")!.data).toEqual(Float32Array.of(1, 2));
    file.close();
  });

  it.each<[reason: string, what: string, bytes: Buffer]>([
    ["not-a-checkpoint", "another pickle", pickle.of(dict())],
    ["not-a-checkpoint", "another number", legacyFile(weights, [], { magic: int(5) })],
    ["unsupported", "another protocol", legacyFile(weights, [], { protocol: 1002 })],
    ["unsupported", "a big-endian machine", legacyFile(weights, [], { littleEndian: false })],
    ["storage-missing", "no storage", legacyFile(weights)],
    ["storage-size", "a shorter storage", legacyFile(weights, [["k", 1, floats(1)]])],
    ["truncated", "half a storage", legacyFile(weights, [["k", 2, floats(1)]])],
    ["corrupt", "a storage no tensor knows", legacyFile(weights, [["z", 2, floats(1, 2)]])],
    [
      "corrupt",
      "a storage twice",
      legacyFile(weights, [
        ["k", 2, floats(1, 2)],
        ["k", 2, floats(1, 2)],
      ]),
    ],
  ])("%s: %s", (reason, _, bytes) => {
    expect(reasonFor(bytes)).toBe(reason);
  });

  it("a plain pickle that calls something is refused for that", () => {
    expect(reasonFor(pickle.of(pickle.call("os.system", text("ls"))))).toBe("unsafe-pickle");
  });

  it("one storage described in two ways is corrupt", () => {
    const twice = dict(
      ...[
        text("a"),
        pickle.tensor("k", [2]),
        text("b"),
        pickle.tensor("k", [2], { type: "IntStorage" }),
      ],
    );
    expect(reasonFor(legacyFile(pickle.of(twice), [["k", 2, floats(1, 2)]]))).toBe("corrupt");
  });
});
