// Folders that look like libtorch, programs that look like Python, and an addon that compiles in a second.

import { spawnSync } from "node:child_process";
import { chmodSync, mkdirSync, mkdtempSync, realpathSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";

import { afterAll, describe } from "@jest/globals";

/** An empty folder that goes away with the tests of the file. */
export function temporaryFolder(): string {
  const path = realpathSync(mkdtempSync(join(tmpdir(), "repkit-torch-")));
  afterAll(() => rmSync(path, { recursive: true, force: true }));
  return path;
}

/** Writes files by their path below `root`. */
export function writeTree(root: string, files: Readonly<Record<string, string>>): string {
  for (const [name, text] of Object.entries(files)) {
    mkdirSync(dirname(join(root, name)), { recursive: true });
    writeFileSync(join(root, name), text);
  }
  return root;
}

export function writeProgram(folder: string, name: string, text: string): string {
  writeTree(folder, { [name]: text });
  chmodSync(join(folder, name), 0o755);
  return join(folder, name);
}

const NEW_STRINGS = "_ZN3c105ErrorC2ENS_14SourceLocationENSt7__cxx1112basic_string";
export const OLD_STRINGS = "_ZN3c105ErrorC2ENS_14SourceLocationESs";

/** What discovery looks at, without any content that a compiler or linker could use. */
export function fakeLibrary(
  root: string,
  files: Readonly<Record<string, string>> = {},
  libraryDir = "lib",
): string {
  return writeTree(root, {
    [`${libraryDir}/libtorch.so`]: "",
    [`${libraryDir}/libtorch_cpu.so`]: "",
    [`${libraryDir}/libc10.so`]: `\0${NEW_STRINGS}\0`,
    "include/ATen/ATen.h": "#error C++17 or later compatible compiler is required to use ATen.\n",
    "include/c10/macros/Macros.h": "",
    "include/torch/library.h": "",
    "include/torch/csrc/api/include/torch/version.h": '#define TORCH_VERSION \\\n  "2.4.1"\n',
    ...files,
  });
}

/** As `fakeLibrary`, with shared libraries that link; they hold nothing. */
export function linkableLibrary(root: string): string {
  return addLibraries(fakeLibrary(root), ["torch", "torch_cpu", "c10"]);
}

/** Puts empty shared libraries into `root`/lib, which is there. */
export function addLibraries(root: string, names: readonly string[]): string {
  for (const name of names) {
    const file = join(root, "lib", `lib${name}.so`);
    const args = ["-shared", "-fPIC", "-x", "c++", "/dev/null", "-o", file];
    const { status, stderr } = spawnSync("c++", [...args, `-Wl,-soname,lib${name}.so`], {
      encoding: "utf8",
    });
    if (status !== 0) throw new Error(stderr);
  }
  return root;
}

/** Whether there is a compiler to build `TINY_ADDON` with. */
export const hasCompiler =
  process.platform === "linux" && spawnSync("c++", ["--version"]).status === 0;

/** Tests that compile; where nothing can, a skipped suite whose name says why. */
export function withCompiler(what: string, body: () => void): void {
  if (hasCompiler) describe(what, body);
  else describe.skip(`${what}, skipped: no C++ compiler`, body);
}

/** An addon of two units in Node's C interface; `describe()` tells a version and no CUDA device. */
export const TINY_ADDON = {
  "addon.cc": `
#include <node_api.h>
#include "number.h"

static napi_value describe(napi_env env, napi_callback_info) {
  napi_value result, value;
  napi_create_object(env, &result);
  napi_create_string_utf8(env, "2.4.1", NAPI_AUTO_LENGTH, &value);
  napi_set_named_property(env, result, "version", value);
  napi_create_double(env, number(), &value);
  napi_set_named_property(env, result, "cudaDevices", value);
  return result;
}

NAPI_MODULE_INIT() {
  napi_value function;
  napi_create_function(env, "describe", NAPI_AUTO_LENGTH, describe, nullptr, &function);
  napi_set_named_property(env, exports, "describe", function);
  return exports;
}
`,
  "number.h": "double number();\n",
  "number.cc": '#include "number.h"\ndouble number() { return 0; }\n',
};

/** Stands for Python: answers what discovery asks. */
export function fakePython(folder: string, name: string, torch: string | null): string {
  const answer = JSON.stringify({ executable: join(folder, name), torch });
  return writeProgram(folder, name, `#!/bin/sh\necho\necho '${answer}'\n`);
}
