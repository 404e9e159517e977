// Writing files atomically: whatever goes wrong, the old file or the new one is there, whole.

import { spawn } from "node:child_process";
import {
  chmodSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import process from "node:process";

import { describe, expect, it } from "@jest/globals";

import { stageFile, writeFileAtomically } from "../../src/util/atomic-write.js";
import { refusal, temporaryFolder } from "../checkpoint/support.js";
import { compileSources } from "../helpers/compiled.js";

const folder = temporaryFolder();

/** A fresh folder; `list()` are the names in it, temporary files too. */
function scratch(name: string): { at: (file: string) => string; list: () => string[] } {
  const path = join(folder.path(), name);
  mkdirSync(path);
  return { at: (file) => join(path, file), list: () => readdirSync(path).sort() };
}

const text = (path: string): string => readFileSync(path, "utf8");

describe("writeFileAtomically", () => {
  it("puts the chunks together, in a new file or in the place of an old one", () => {
    const { at, list } = scratch("new");
    for (const last of ["c", "d"]) {
      const positions: number[] = [];
      writeFileAtomically(at("f"), (sink) => {
        for (const chunk of ["a", "", "bb", last]) {
          positions.push(sink.position);
          sink.write(Buffer.from(chunk));
        }
      });
      expect(positions).toEqual([0, 1, 1, 3]);
      expect(text(at("f"))).toBe(`abb${last}`);
      expect(list()).toEqual(["f"]);
    }
  });

  it("leaves the old file and nothing else where the writer fails in the middle", () => {
    const { at, list } = scratch("failing");
    writeFileSync(at("f"), "old");
    const failure = new Error("no more tensors");
    expect(() =>
      writeFileAtomically(at("f"), (sink) => {
        sink.write(Buffer.alloc(1 << 20));
        throw failure;
      }),
    ).toThrow(failure);
    expect(text(at("f"))).toBe("old");
    expect(list()).toEqual(["f"]);
  });

  it("keeps the mode of an existing file", () => {
    const { at } = scratch("mode");
    writeFileSync(at("f"), "old");
    chmodSync(at("f"), 0o640);
    writeFileAtomically(at("f"), (sink) => sink.write(Buffer.from("new")));
    expect(statSync(at("f")).mode & 0o777).toBe(0o640);
    expect(text(at("f"))).toBe("new");
  });

  it("writes through symbolic links, also one that leads nowhere yet", () => {
    const { at, list } = scratch("links");
    mkdirSync(at("there"));
    writeFileSync(at("there/f"), "old");
    symlinkSync("there/f", at("link"));
    symlinkSync("link", at("chain"));
    symlinkSync("there/g", at("dangling"));
    writeFileAtomically(at("chain"), (sink) => sink.write(Buffer.from("new")));
    writeFileAtomically(at("dangling"), (sink) => sink.write(Buffer.from("g")));
    expect(readlinkSync(at("chain"))).toBe("link");
    expect(readlinkSync(at("link"))).toBe("there/f");
    expect(text(at("there/f"))).toBe("new");
    expect(text(at("there/g"))).toBe("g");
    expect(readdirSync(at("there")).sort()).toEqual(["f", "g"]);
    expect(list()).toEqual(["chain", "dangling", "link", "there"]);
  });

  it("refuses what a rename would destroy or cannot reach", () => {
    const { at, list } = scratch("refused");
    mkdirSync(at("folder"));
    symlinkSync("loop", at("loop"));
    const write = (path: string) =>
      refusal(() => writeFileAtomically(path, (sink) => sink.write(Buffer.from("x"))));
    expect(write(at("folder")).message).toContain("is a folder");
    expect(write("/dev/null").message).toContain("is not a regular file");
    expect(write(at("missing/f")).message).toContain(`the folder ${at("missing")} does not exist`);
    expect(write(at("loop")).message).toContain("too many symbolic links");
    expect(write(at("n".repeat(300))).message).toContain("the name is too long");
    writeFileSync(at("f"), "");
    expect(write(at("f/g")).message).toContain("is not a folder");
    expect(write(at("folder")).reason).toBe("unwritable");
    expect(list()).toEqual(["f", "folder", "loop"]);
    expect(statSync("/dev/null").isCharacterDevice()).toBe(true);
  });

  // Root may write everywhere.
  (process.getuid?.() === 0 ? it.skip : it)("respects write protection", () => {
    const { at } = scratch("protected");
    writeFileSync(at("f"), "old");
    chmodSync(at("f"), 0o444);
    const { message } = refusal(() => writeFileAtomically(at("f"), () => undefined));
    expect(message).toContain("permission denied");
    expect(text(at("f"))).toBe("old");
  });

  // /dev/full is a device, so a full file system has to be a real one; Linux limits file sizes instead.
  it("says so where the space ends", async () => {
    const { at, list } = scratch("full");
    writeFileSync(at("f"), "old");
    compileSources(folder.path(), ["errors.ts", "util"]);
    const script = folder.place(
      "script.js",
      Buffer.from(`
      import { stageFile, writeFileAtomically } from "./util/atomic-write.js";
      process.on("SIGXFSZ", () => {});
      try {
        writeFileAtomically(${JSON.stringify(at("f"))}, (sink) => sink.write(Buffer.alloc(1 << 20)));
      } catch (error) {
        console.log(error.kind, error.message);
      }`),
    );
    const child = spawn("sh", ["-c", `ulimit -f 64; exec "${process.execPath}" "${script}"`]);
    let output = "";
    child.stdout.on("data", (chunk: Buffer) => (output += chunk.toString()));
    await new Promise((resolve) => child.on("close", resolve));
    expect(output).toMatch(/^file .*\/f: cannot write: /);
    expect(text(at("f"))).toBe("old");
    expect(list()).toEqual(["f"]);
  });
});

describe("a staged file", () => {
  it("takes bytes in any order, and its place when it is told to", () => {
    const { at, list } = scratch("staged");
    writeFileSync(at("f"), "old");
    const file = stageFile(at("f"));
    file.writeAt(6, Buffer.from("g"));
    file.write(Buffer.from("abc"));
    file.write(Buffer.from("def"));
    expect(file.position).toBe(6);
    expect(text(at("f"))).toBe("old");
    expect(list()).toEqual([expect.stringMatching(/^\.repkit-[0-9a-f]{16}\.tmp$/), "f"]);
    file.writeAt(0, Buffer.from("A"));
    file.commit();
    file.discard();
    expect(text(at("f"))).toBe("Abcdefg");
    expect(list()).toEqual(["f"]);
  });

  it("takes nothing more once it is in its place, or discarded", () => {
    const { at } = scratch("closed");
    const [kept, gone] = [stageFile(at("f")), stageFile(at("g"))];
    kept.commit();
    gone.discard();
    for (const file of [kept, gone]) {
      expect(() => file.write(Buffer.from("x"))).toThrow("written after it was put in place");
      expect(() => file.commit()).toThrow("written after it was put in place");
    }
    expect(text(at("f"))).toBe("");
  });

  it("on its way is no more readable than the old one", () => {
    const { at, list } = scratch("private");
    writeFileSync(at("f"), "old", { mode: 0o600 });
    const file = stageFile(at("f"));
    expect(statSync(at(list()[0]!)).mode & 0o777).toBe(0o600);
    file.discard();
  });

  it("that is flushed on the way is the same", () => {
    const { at } = scratch("flushed");
    const piece = Buffer.alloc(1 << 24, "x");
    const file = stageFile(at("f"));
    for (let i = 0; i < 5; i++) file.write(piece);
    file.commit();
    const written = readFileSync(at("f"));
    expect(written.length).toBe(5 << 24);
    expect(written.subarray(4 << 24).equals(piece)).toBe(true);
  });

  it("is gone when it is discarded, however often", () => {
    const { at, list } = scratch("discarded");
    const file = stageFile(at("f"));
    file.write(Buffer.alloc(1 << 20));
    const listeners = process.listenerCount("exit");
    const others = Array.from({ length: 20 }, () => stageFile(at("f")));
    expect(process.listenerCount("exit")).toBe(listeners);
    for (const each of [file, ...others]) {
      each.discard();
      each.discard();
    }
    expect(process.listenerCount("exit")).toBe(listeners - 1);
    expect(list()).toEqual([]);
  });

  it("is gone when the process ends", async () => {
    const { at, list } = scratch("exit");
    compileSources(at("sources"), ["errors.ts", "util"]);
    writeFileSync(at("f"), "old");
    const script = at("sources/script.js");
    writeFileSync(
      script,
      `import { readdirSync } from "node:fs";
      import { stageFile } from "./util/atomic-write.js";
      stageFile(${JSON.stringify(at("f"))}).write(Buffer.alloc(1 << 20));
      console.log(readdirSync(${JSON.stringify(at("."))}).length);
      process.exit(3);`,
    );
    const child = spawn(process.execPath, [script]);
    let output = "";
    child.stdout.on("data", (chunk: Buffer) => (output += chunk.toString()));
    const code = await new Promise((resolve) => child.on("close", resolve));
    expect([code, output]).toEqual([3, "3\n"]);
    expect(list()).toEqual(["f", "sources"]);
    expect(text(at("f"))).toBe("old");
  });
});
