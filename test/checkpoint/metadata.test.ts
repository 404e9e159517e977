// What a checkpoint says about itself: round trips, refusals by key, and text that nobody meant.

import { describe, expect, it } from "@jest/globals";
import fc from "fast-check";

import {
  metadataDocument,
  readMetadata,
  writeMetadata,
  type CheckpointMetadata,
} from "../../src/checkpoint/index.js";
import { RepkitError } from "../../src/errors.js";
import { refusal } from "./support.js";

const MINIMAL: CheckpointMetadata = {
  arch: "ResNet-18",
  block: "DBB",
  mode: "train",
  classes: 3,
  imgSize: 96,
};

const FULL: CheckpointMetadata = {
  ...MINIMAL,
  epoch: 0,
  step: 2 ** 53 - 1,
  bestAcc1: 71.234,
  classNames: ["cat", "größe", 'a "quoted" one'],
  recipe: { lr: 0.1, nested: { list: [1, null, true] } },
  verified: { max_abs_diff: 1e-7 },
  source: "in.pth",
  other: new Map([["author", "somebody"]]),
};

const strings = (extra: Record<string, string> = {}): Map<string, string> =>
  new Map([...writeMetadata("f", MINIMAL), ...Object.entries(extra)]);

describe("metadata", () => {
  it("is written under these keys, in this order", () => {
    expect([...writeMetadata("f.ckpt", FULL)]).toEqual([
      ["format", "repkit"],
      ["version", "1"],
      ["arch", "ResNet-18"],
      ["block", "DBB"],
      ["mode", "train"],
      ["classes", "3"],
      ["img_size", "96"],
      ["epoch", "0"],
      ["step", "9007199254740991"],
      ["best_acc1", "71.234"],
      ["class_names", '["cat","größe","a \\"quoted\\" one"]'],
      ["recipe", '{"lr":0.1,"nested":{"list":[1,null,true]}}'],
      ["verified", '{"max_abs_diff":1e-7}'],
      ["source", "in.pth"],
      ["author", "somebody"],
    ]);
  });

  it.each([
    ["everything", FULL],
    ["only what is needed", MINIMAL],
    ["an unverified conversion", { ...MINIMAL, mode: "deploy", verified: "no" }],
    ["a tiny accuracy", { ...MINIMAL, bestAcc1: 1e-7 }],
  ] as const)("round trip: %s", (_, metadata) => {
    expect(readMetadata("f", writeMetadata("f", metadata))).toEqual(metadata);
  });

  it("keeps keys that it does not know, which cannot replace those it does", () => {
    const other = new Map([
      ["arch", "ResNet-50"],
      ["version", "7"],
      ["note", ""],
    ]);
    const read = readMetadata("f", writeMetadata("f", { ...MINIMAL, other }));
    expect(read).toEqual({ ...MINIMAL, other: new Map([["note", ""]]) });
  });

  it.each([[{}], [{ format: "pt" }], [{ format: "", version: "1" }]])(
    "is of another making: %j",
    (entries) => {
      expect(readMetadata("f", new Map(Object.entries(entries)))).toBeUndefined();
    },
  );

  it("is one typed document for programs", () => {
    expect(metadataDocument(FULL)).toEqual({
      format: "repkit",
      version: 1,
      arch: "ResNet-18",
      block: "DBB",
      mode: "train",
      classes: 3,
      img_size: 96,
      epoch: 0,
      step: 9007199254740991,
      best_acc1: 71.234,
      class_names: ["cat", "größe", 'a "quoted" one'],
      recipe: { lr: 0.1, nested: { list: [1, null, true] } },
      verified: { max_abs_diff: 1e-7 },
      source: "in.pth",
      author: "somebody",
    });
  });
});

describe("metadata that cannot be meant", () => {
  const deep = "[".repeat(80) + "]".repeat(80);

  it.each([
    [{ version: "0" }, 'bad version in its metadata: expected a whole number from 1, found "0"'],
    [{ version: "1.5" }, "bad version in its metadata: expected a whole number from 1"],
    [{ arch: "" }, 'bad arch in its metadata: expected a name, found ""'],
    [{ mode: "eval" }, 'bad mode in its metadata: expected train or deploy, found "eval"'],
    [
      { classes: "0" },
      'bad classes in its metadata: expected a whole number from 1 to 500000, found "0"',
    ],
    [{ classes: "1e3" }, 'found "1e3"'],
    [{ classes: "500001" }, 'found "500001"'],
    [{ img_size: "4097" }, "bad img_size in its metadata: expected a whole number from 1 to 4096"],
    [{ epoch: "-1" }, 'bad epoch in its metadata: expected a whole number from 0, found "-1"'],
    [{ step: "007" }, 'bad step in its metadata: expected a whole number from 0, found "007"'],
    [{ step: "9007199254740992" }, "bad step in its metadata"],
    [
      { best_acc1: "NaN" },
      'bad best_acc1 in its metadata: expected a number from 0 to 100, found "NaN"',
    ],
    [{ best_acc1: "100.5" }, "bad best_acc1"],
    [{ recipe: "[]" }, 'bad recipe in its metadata: expected a JSON object, found "[]"'],
    [{ recipe: "{" }, 'bad recipe in its metadata: expected a JSON object, found "{"'],
    [{ recipe: `{"a":${deep}}` }, `found "{"a":${"[".repeat(55)}..."`],
    [
      { class_names: '["a",1,"b"]' },
      "bad class_names in its metadata: expected a JSON list of strings",
    ],
    [
      { class_names: '["a"]' },
      "bad class_names in its metadata: expected one name for each of the 3 classes, found a list of 1",
    ],
    [
      { verified: "yes" },
      'bad verified in its metadata: expected a JSON object or "no", found "yes"',
    ],
  ])("%j", (entries, message) => {
    const found = refusal(() => readMetadata("f.ckpt", strings(entries)));
    expect(found.reason).toBe("corrupt");
    expect(found.message.startsWith("f.ckpt: bad ")).toBe(true);
    expect(found.message).toContain(message);
    expect(found.details["key"]).toBe(Object.keys(entries)[0]);
  });

  it.each(["version", "arch", "block", "mode", "classes", "img_size"])("without %s", (key) => {
    const entries = strings();
    entries.delete(key);
    const { message } = refusal(() => readMetadata("f.ckpt", entries));
    expect(message).toMatch(new RegExp(`^f.ckpt: bad ${key} in its metadata: .*found nothing$`));
  });

  it("of a newer version asks for a newer repkit", () => {
    const found = refusal(() => readMetadata("f.ckpt", strings({ version: "2" })));
    expect(found.reason).toBe("unsupported");
    expect(found.message).toBe(
      "f.ckpt: its metadata has version 2, and this repkit reads up to version 1; update repkit to open it",
    );
  });

  it.each([
    [{ bestAcc1: NaN }, "best_acc1"],
    [{ epoch: 1.5 }, "epoch"],
    [{ classNames: ["a"] }, "class_names"],
  ])("is not written: %j", (wrong, key) => {
    const { details } = refusal(() => writeMetadata("f.ckpt", { ...MINIMAL, ...wrong }));
    expect(details["key"]).toBe(key);
  });
});

describe("fuzz", () => {
  it("any text under any key is read or refused, never anything else", () => {
    const keys = [...writeMetadata("f", FULL).keys(), "__proto__", "constructor"];
    const value = fc.oneof(
      fc.string({ unit: "binary" }),
      fc.json(),
      fc.double().map(String),
      fc.constantFrom("repkit", "1", "train", "[[", '{"__proto__":{"x":1}}', "9".repeat(400)),
    );
    const entries = fc.array(fc.tuple(fc.constantFrom(...keys), value), { maxLength: 4 });
    let read = 0;
    fc.assert(
      fc.property(entries, (changes) => {
        const found = new Map([...writeMetadata("f", FULL), ...changes]);
        try {
          const metadata = readMetadata("f", found);
          if (metadata === undefined) return;
          // What is read is written and read again as the same.
          expect(readMetadata("f", writeMetadata("f", metadata))).toEqual(metadata);
          expect(() => JSON.stringify(metadataDocument(metadata))).not.toThrow();
          read++;
        } catch (error) {
          if (!(error instanceof RepkitError) || error.kind !== "file") throw error;
          expect(error.message).not.toMatch(/\n/);
        }
      }),
      { seed: 20_240_601, numRuns: 2000 },
    );
    expect(read).toBeGreaterThan(200);
  });
});
