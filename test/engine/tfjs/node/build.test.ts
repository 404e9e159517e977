// From downloads to an addon, with a pip and an npm that bring next to nothing, and fail as the real ones do.

import { spawnSync } from "node:child_process";
import { existsSync, mkdirSync, readdirSync, readFileSync } from "node:fs";
import { delimiter, join } from "node:path";

import { describe, expect, jest, test } from "@jest/globals";

import { loadBuild } from "../../../../src/addons/find.js";
import { findTfjsNodeBuild } from "../../../../src/engine/tfjs/node/addon.js";
import { buildTfjsNode, refreshTfjsNode } from "../../../../src/engine/tfjs/node/build.js";
import { ensurePackage, ensureTensorFlow } from "../../../../src/engine/tfjs/node/downloads.js";
import { inspectTensorFlow } from "../../../../src/engine/tfjs/node/library.js";
import type { RepkitError } from "../../../../src/errors.js";
import {
  temporaryFolder,
  withCompiler,
  writeProgram,
  writeTree,
} from "../../../helpers/torch-trees.js";

jest.setTimeout(60_000); // compilers take their time on a busy machine

const folder = temporaryFolder();
let count = 0;
const newFolder = () => {
  const path = join(folder, String(count++));
  mkdirSync(path);
  return path;
};

/** Like the package's sources in what matters: the set of names is used in two functions of one file. */
const BINDING = {
  "binding/tfjs_backend.cc": `
#include <set>
#include <string>
#include "tensorflow/c/eager/c_api.h"
namespace tfnodejs {
static std::set<std::string> ATTR_NAME_SET;
int remember(const char* name) { return ATTR_NAME_SET.insert(name).second ? VALUE : 0; }
}
`,
  "binding/tfjs_binding.cc": `
#include <node_api.h>
namespace tfnodejs {
int remember(const char* name);
static napi_value Init(napi_env env, napi_value exports) {
  napi_value value;
  napi_create_int32(env, remember("a") + remember("a"), &value);
  napi_set_named_property(env, exports, "value", value);
  return exports;
}
NAPI_MODULE(tfe_binding, Init)
}
`,
};

/** A package tensorflow, with libraries that hold nothing. */
function fakeTensorFlow(): string {
  const root = join(newFolder(), "tensorflow");
  writeTree(root, {
    "include/tensorflow/c/eager/c_api.h": "#define VALUE 7\n",
    "../tensorflow_cpu-2.99.1.dist-info/METADATA": "",
  });
  for (const name of ["libtensorflow_cc.so.2", "libtensorflow_framework.so.2"]) {
    const link = ["-shared", "-fPIC", "-x", "c++", "/dev/null", `-Wl,-soname,${name}`];
    const { status, stderr } = spawnSync("c++", [...link, "-o", join(root, name)]);
    if (status !== 0) throw new Error(stderr.toString());
  }
  return root;
}

/** An environment whose npm runs this script instead, and whose pip that one. */
function environment({ npm = "exit 1", pip = "exit 1" }) {
  const programs = newFolder();
  writeProgram(programs, "npm", `#!/bin/sh\n${npm}\n`);
  const python = `case "$*" in *--version*) exit 0;; *download*) ${pip};; *) exec ${realPython} "$@";; esac`;
  writeProgram(programs, "python3", `#!/bin/sh\n${python}\n`);
  const PATH = `${programs}${delimiter}${process.env["PATH"]}`;
  const env: NodeJS.ProcessEnv = { PATH, REPKIT_CACHE: newFolder() };
  return env;
}

const realPython = spawnSync("sh", ["-c", "command -v python3"], {
  encoding: "utf8",
}).stdout.trim();

const install = (files: Readonly<Record<string, string>>) =>
  Object.entries(files)
    .map(([name, text]) => {
      const file = `node_modules/@tensorflow/tfjs-node/${name}`;
      return `mkdir -p $(dirname ${file}); cat > ${file} <<'END'\n${text}\nEND`;
    })
    .join("\n");

async function messageOf(promise: Promise<unknown>): Promise<string> {
  const error = (await promise.catch((e: unknown) => e)) as RepkitError;
  expect(error.kind).toBe("environment");
  return error.message;
}

withCompiler("a build", () => {
  test("downloads, says so, compiles, and is there the next time", async () => {
    const npm = `[ "$1 $2" = "ci --ignore-scripts" ] && [ -f package-lock.json ] || exit 1\n${install(BINDING)}`;
    const env: NodeJS.ProcessEnv = {
      ...environment({ npm }),
      REPKIT_TENSORFLOW: fakeTensorFlow(),
    };
    const said: string[] = [];
    const say = (line: string) => void said.push(line);
    expect(findTfjsNodeBuild("tfjs-node", env)).toMatchObject({ kind: "missing" });
    const built = await buildTfjsNode("tfjs-node", { env, say });
    expect(said).toEqual([expect.stringMatching(/^installing @tensorflow\/tfjs-node .*300 MB/)]);
    expect(built).toMatchObject({ isNew: true, record: { version: "2.99.1" } });
    expect(loadBuild({ name: "tfjs-node" }, built)).toEqual({ value: 7 });
    expect(readdirSync(env["REPKIT_CACHE"]!).filter((name) => name.startsWith("."))).toEqual([]);
    const again = await buildTfjsNode("tfjs-node", { env, say });
    expect([again.isNew, said.length]).toEqual([false, 1]);
    expect(findTfjsNodeBuild("tfjs-node", env)).toMatchObject({ kind: "ready" });
    // Of its own, and not the other's.
    expect(findTfjsNodeBuild("tfjs-node-gpu", env)).toMatchObject({ kind: "missing" });
    await refreshTfjsNode({ env, say }); // nothing to do
  });

  test("says before any download that there is no compiler", async () => {
    const env = { ...environment({}), CXX: "no-such-compiler" };
    expect(await messageOf(buildTfjsNode("tfjs-node", { env }))).toMatch(/^CXX: no-such-compiler/);
  });

  test("refuses a folder without TensorFlow", async () => {
    const env = { ...environment({}), REPKIT_TENSORFLOW: folder };
    const message = await messageOf(buildTfjsNode("tfjs-node", { env }));
    expect(message).toBe(`REPKIT_TENSORFLOW: ${folder} has no libtensorflow_cc.so.2`);
  });
});

describe("downloads", () => {
  const offline = "NewConnectionError('Failed to establish a new connection')";
  test.each([
    [
      `echo "WARNING: Retrying: ${offline}"; echo "ERROR: No matching distribution"; exit 1`,
      "PyPI cannot be reached",
    ],
    [
      'echo "ERROR: THESE PACKAGES DO NOT MATCH THE HASHES"; exit 1',
      "THESE PACKAGES DO NOT MATCH THE HASHES",
    ],
    [
      'echo "OSError: [Errno 28] No space left on device" >&2; exit 2',
      "OSError: [Errno 28] No space left on device",
    ],
    ["exit 3", "python3 ended with code 3"],
  ])("pip that does %j is one line, and leaves nothing", async (pip, problem) => {
    const env = environment({ pip });
    const message = await messageOf(ensureTensorFlow({}, { env }));
    expect(message).toMatch(/^tensorflow(-cpu)? \d+\.\d+\.\d+ was not downloaded: /);
    expect(message.endsWith(`: ${problem}`)).toBe(true);
    expect(readdirSync(env["REPKIT_CACHE"]!)).toEqual([]);
  });

  test.each([
    ['echo "npm error code ENOTFOUND"; exit 1', "npm's registry cannot be reached"],
    ['echo "npm error code EINTEGRITY"; echo "npm error sha512 differs"; exit 1', "sha512 differs"],
  ])("npm that does %j is one line, and leaves nothing", async (npm, problem) => {
    const env = environment({ npm });
    const message = await messageOf(ensurePackage({ env }));
    expect(message).toBe(`@tensorflow/tfjs-node was not installed: ${problem}`);
    expect(readdirSync(env["REPKIT_CACHE"]!)).toEqual([]);
  });

  test("without pip: what to install", async () => {
    const env = { PATH: newFolder(), REPKIT_CACHE: newFolder() };
    const message = await messageOf(ensureTensorFlow({}, { env }));
    expect(message).toMatch(/no Python with pip was found \(python3, python\); run: .*pip/);
  });

  (realPython === "" ? test.skip : test)("of a wheel only what is needed is kept", async () => {
    const names = [
      ...["libtensorflow_cc.so.2", "libtensorflow_framework.so.2", "python/big.so"],
      ...["include/tensorflow/c/eager/c_api.h", "include/Eigen/Core"],
    ];
    const files = [
      ...names.map((name) => `tensorflow/${name}`),
      "tensorflow_cpu-2.99.1.dist-info/METADATA",
    ];
    const zip = `import zipfile; z = zipfile.ZipFile("tensorflow_cpu-2.99.1-cp311.whl", "w"); [z.writestr(n, n) for n in "${files.join(" ")}".split()]; z.close()`;
    const env = environment({ pip: `exec ${realPython} -c '${zip}'` });
    const root = await ensureTensorFlow({}, { env });
    expect(inspectTensorFlow(root)).toMatchObject({ library: { root, version: "2.99.1" } });
    expect(readFileSync(join(root, "libtensorflow_cc.so.2"), "utf8")).toMatch(/_cc/);
    expect([join(root, "python"), join(root, "include/Eigen")].some(existsSync)).toBe(false);
    expect(readdirSync(join(root, "..")).filter((name) => name.endsWith(".whl"))).toEqual([]);
    // A second time there is nothing to download.
    const again = await ensureTensorFlow({}, { env: { ...env, PATH: "" } });
    expect(again).toBe(root);
  });
});
