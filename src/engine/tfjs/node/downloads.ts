/**
 * What `repkit build tfjs-node` gets from PyPI and npm, by pip and npm, into the cache. Both are pinned by
 * hash in native/tfjs-node. The npm package lives there because npm removes an optional dependency whose
 * install script fails, as tfjs-node's does wherever its own old libtensorflow cannot be had.
 */
import { spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import { copyFileSync, existsSync, mkdirSync, readFileSync, rmSync } from "node:fs";
import { join } from "node:path";

import { cacheFolder, publish, temporaryFolder } from "../../../addons/cache.js";
import { withLock } from "../../../addons/lock.js";
import { aptInstall } from "../../../addons/mending.js";
import { addonSources } from "../../../addons/package.js";
import { RepkitError } from "../../../errors.js";
import { runTool, type ToolFailure } from "./tools.js";

const PINS = addonSources("tfjs-node");
const NPM_FILES = ["package.json", "package-lock.json"];

export interface DownloadOptions {
  readonly env?: NodeJS.ProcessEnv;
  /** Is told each thing before it is done. */
  readonly say?: (line: string) => void;
}

/** The folder of the npm package `@tensorflow/tfjs-node` in the cache, whether it is there or not. */
export function packageFolder(env: NodeJS.ProcessEnv = process.env): string {
  return join(npmFolder(env), "node_modules", "@tensorflow", "tfjs-node");
}

/** Installs `@tensorflow/tfjs-node` unless the cache has it, without its install script. Returns its folder. */
export async function ensurePackage(options: DownloadOptions = {}): Promise<string> {
  const { env = process.env, say = () => undefined } = options;
  const folder = npmFolder(env);
  await once(folder, env, say, async (temporary) => {
    say(
      `installing @tensorflow/tfjs-node and what it needs (npm, 130 packages, 300 MB) into ${folder}`,
    );
    for (const name of NPM_FILES) copyFileSync(join(PINS, "npm", name), join(temporary, name));
    const flags = ["--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"];
    const failure = await runTool("npm", ["ci", ...flags, "--fetch-retries=1"], temporary, env);
    if (failure !== undefined) throw npmError(failure);
  });
  return packageFolder(env);
}

/** Downloads libtensorflow unless the cache has it. Returns the folder of the package `tensorflow`. */
export async function ensureTensorFlow(
  { gpu = false }: { readonly gpu?: boolean },
  options: DownloadOptions = {},
): Promise<string> {
  const { env = process.env, say = () => undefined } = options;
  const requirements = requirementsFile(gpu);
  const pinned = readFileSync(requirements, "utf8");
  const [, name = "", version = ""] = /^(\S+)==(\S+)/m.exec(pinned)!;
  const folder = join(cacheFolder(env), `${name}-${version}-${process.platform}-${process.arch}`);
  const size = gpu ? "3 GB to download, 6 GB on disk" : "270 MB to download, 860 MB on disk";
  await once(folder, env, say, async (temporary) => {
    const python = findPip(env);
    say(`downloading ${name} ${version} (pip, ${size}) into ${folder}`);
    const failure =
      (await runTool(python, pipArguments(requirements), temporary, env)) ??
      (await runTool(python, ["-c", UNPACK], temporary, env));
    if (failure !== undefined) throw pipError(`${name} ${version}`, failure);
  });
  return join(folder, "tensorflow");
}

function npmFolder(env: NodeJS.ProcessEnv): string {
  const hash = createHash("sha256");
  for (const name of NPM_FILES) hash.update(readFileSync(join(PINS, "npm", name)));
  return join(cacheFolder(env), `npm-tfjs-node-${hash.digest("hex").slice(0, 12)}`);
}

function requirementsFile(gpu: boolean): string {
  const machine = `${process.platform}-${process.arch}`;
  const file = join(PINS, `${machine}${gpu ? "-gpu" : ""}.txt`);
  if (existsSync(file)) return file;
  throw new RepkitError(
    "environment",
    `no TensorFlow ${gpu ? "with CUDA " : ""}to be had for ${machine}: PyPI's packages are used on linux-x64 and, without CUDA, linux-arm64`,
  );
}

/** Makes a folder as a whole unless it is there; one process at a time. */
async function once(
  folder: string,
  env: NodeJS.ProcessEnv,
  say: (line: string) => void,
  fill: (temporary: string) => Promise<void>,
): Promise<void> {
  if (existsSync(folder)) return;
  const cache = cacheFolder(env);
  mkdirSync(cache, { recursive: true });
  const onWait = () => {
    say(`waiting for another process that makes ${folder}`);
  };
  await withLock(`${folder}.lock`, onWait, async () => {
    if (existsSync(folder)) return;
    const temporary = temporaryFolder(cache);
    const cleanUp = () => {
      rmSync(temporary, { recursive: true, force: true });
    };
    process.once("exit", cleanUp);
    try {
      await fill(temporary);
      publish(temporary, folder);
    } finally {
      process.off("exit", cleanUp);
      cleanUp();
    }
  });
}

/** The first Python that has pip. */
function findPip(env: NodeJS.ProcessEnv): string {
  const virtual = env["VIRTUAL_ENV"] ?? "";
  const programs = [
    ...(virtual === "" ? [] : [join(virtual, "bin", "python")]),
    "python3",
    "python",
  ];
  const found = programs.find(
    (program) => spawnSync(program, ["-m", "pip", "--version"], { env }).status === 0,
  );
  if (found !== undefined) return found;
  const fix = aptInstall("python3-pip") ?? "install Python 3 with pip";
  throw new RepkitError(
    "environment",
    `TensorFlow comes from PyPI, and no Python with pip was found (${programs.join(", ")}); run: ${fix}`,
    { details: { reason: "no-pip" } },
  );
}

/** libtensorflow is the same for every Python, so any one that is named here serves any pip. */
function pipArguments(requirements: string): readonly string[] {
  const cpu = process.arch === "arm64" ? "aarch64" : "x86_64";
  const platforms = ["manylinux_2_27", "manylinux2014", "manylinux_2_17"];
  return [
    ...["-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--retries", "2"],
    ...["--no-deps", "--require-hashes", "--no-cache-dir", "--only-binary", ":all:"],
    ...["--python-version", "3.11", "--implementation", "cp"],
    ...platforms.flatMap((platform) => ["--platform", `${platform}_${cpu}`]),
    ...["--requirement", requirements, "--dest", "."],
  ];
}

/** Takes what is needed out of the wheels in the working folder, and removes them. */
const UNPACK = `
import glob, os, zipfile
KEPT = (
    "tensorflow/libtensorflow_",
    "tensorflow/include/tensorflow/c/",
    "tensorflow/include/tensorflow/core/platform/ctstring",
    "tensorflow/include/tsl/platform/ctstring",
    "tensorflow/include/xla/tsl/c/",
    "nvidia/",
)
for wheel in glob.glob("*.whl"):
    with zipfile.ZipFile(wheel) as archive:
        for name in archive.namelist():
            if name.startswith(KEPT) or name.endswith((".dist-info/METADATA", ".dist-info/LICENSE")):
                archive.extract(name)
    os.remove(wheel)
`;

const UNREACHABLE =
  /NewConnectionError|ConnectTimeout|ConnectionError|ProxyError|ENOTFOUND|EAI_AGAIN|ECONNREFUSED|ETIMEDOUT|ENETUNREACH/;

function pipError(what: string, { reason, output }: ToolFailure): RepkitError {
  const problem = UNREACHABLE.test(output) ? "PyPI cannot be reached" : reason;
  return new RepkitError("environment", `${what} was not downloaded: ${problem}`, {
    details: { reason: "download" },
  });
}

function npmError({ reason, output }: ToolFailure): RepkitError {
  const problem = UNREACHABLE.test(output) ? "npm's registry cannot be reached" : reason;
  return new RepkitError("environment", `@tensorflow/tfjs-node was not installed: ${problem}`, {
    details: { reason: "download" },
  });
}
