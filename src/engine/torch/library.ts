/** One libtorch on disk: what a folder has to hold for the addon to be compiled against it. */
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";

import type { Inspection as AnyInspection } from "../../addons/addon.js";
import { libraryDirOf, libraryFile, realPath } from "../../addons/files.js";
import { aptInstall } from "../../addons/mending.js";

/** The oldest version that the addon compiles against. */
const OLDEST = { major: 1, minor: 13 };

export interface LibTorch {
  /** The folder that holds (or, for a prefix such as /usr, whose subfolders hold) all of it. */
  readonly root: string;
  /** As the library states it: `1.13.0`, `2.15.0+cu132`. */
  readonly version: string;
  readonly includeDirs: readonly string[];
  readonly libraryDir: string;
  /** Names to link, without `lib` and extension; with the CUDA ones where they are. */
  readonly libraries: readonly string[];
  /** Which std::string the library was built with; undefined where there is only one. */
  readonly cxx11Abi: boolean | undefined;
  /** CUDA's version, where the library has CUDA. */
  readonly cuda: string | undefined;
  /** Whether what c10d's header of NCCL includes is there. NCCL itself is within torch_cuda. */
  readonly nccl: boolean;
  /** The C++ standard that its headers ask for, 17 at least. */
  readonly cxxStandard: number;
}

export type Inspection = AnyInspection<LibTorch>;

/**
 * Looks at a folder: an unpacked libtorch archive, a Python package `torch`, or a prefix such as /usr.
 * Nothing is executed: version, ABI and C++ standard are read from the files, which takes
 * milliseconds where importing torch takes seconds, and works where importing fails.
 */
export function inspectLibrary(root: string): Inspection {
  if (!existsSync(root)) return { reason: `${root} does not exist` };
  const libraryDir = libraryDirOf(root, "torch_cpu");
  if (libraryDir === undefined) {
    return { reason: `${root} has no lib/${libraryFile("torch_cpu")}${nearby(root)}` };
  }
  const has = (name: string) => existsSync(join(libraryDir, libraryFile(name)));
  const absent = ["torch", "c10"].find((name) => !has(name));
  if (absent !== undefined) return { reason: `${libraryDir} has no ${libraryFile(absent)}` };

  const include = join(root, "include");
  const missing = ["ATen/ATen.h", "c10/macros/Macros.h", "torch/library.h"].find(
    (header) => !existsSync(join(include, header)),
  );
  if (missing !== undefined) {
    const fix = isDebianPackage(root) ? aptInstall("libtorch-dev") : undefined;
    const reason = `${root} has the library but no headers (include/${missing})`;
    return fix === undefined ? { reason } : { reason, fix };
  }
  const version = versionOf(root);
  if (version === undefined) return { reason: `${root} does not say which version it is` };
  const [major = 0, minor = 0] = version.split(".").map(Number);
  if (major < OLDEST.major || (major === OLDEST.major && minor < OLDEST.minor)) {
    const oldest = `${OLDEST.major}.${OLDEST.minor}`;
    return { reason: `${root} is libtorch ${version}; ${oldest} or newer is needed` };
  }
  const withCuda = ["torch_cuda", "c10_cuda"].filter(has);
  const apiInclude = join(include, "torch", "csrc", "api", "include");
  const includeDirs = [include, apiInclude, ...(withCuda.length > 0 ? cudaHeaders(root) : [])];
  return {
    library: {
      root,
      version,
      includeDirs,
      libraryDir,
      libraries: ["torch", "torch_cpu", "c10", ...withCuda],
      cxx11Abi: cxx11Abi(join(libraryDir, libraryFile("c10"))),
      cuda: withCuda.length > 0 ? (cudaVersion(root, version) ?? "unknown") : undefined,
      nccl: withCuda.length > 0 && hasNccl(includeDirs),
      cxxStandard: cxxStandard(join(include, "ATen", "ATen.h")),
    },
  };
}

/** A mistake people make: the folder around the right one, or the one within it. */
function nearby(root: string): string {
  const folders = [join(root, "libtorch"), join(root, "torch"), join(root, "..")];
  const right = folders.find((folder) => existsSync(join(folder, "lib", libraryFile("torch_cpu"))));
  return right === undefined ? "" : `; ${right} has`;
}

/** Debian's python3-torch has links where a wheel has libraries and headers. */
function isDebianPackage(root: string): boolean {
  return realPath(root).endsWith("/dist-packages/torch");
}

function versionOf(root: string): string | undefined {
  const python = read(join(root, "version.py")); // a Python package's
  const archive = read(join(root, "build-version")); // an archive's
  return (
    /^__version__\s*=\s*'([^']+)'/m.exec(python)?.[1] ??
    /^\d+\.\d+\S*/.exec(archive)?.[0] ??
    headerVersion(root)
  );
}

function headerVersion(root: string): string | undefined {
  const include = join(root, "include", "torch");
  return ["headeronly/version.h", "csrc/api/include/torch/version.h"]
    .map((name) => /#define TORCH_VERSION\s+\\?\s*"([^"]+)"/.exec(read(join(include, name)))?.[1])
    .find((version) => version !== undefined);
}

/** `13.2` of version.py's `cuda = '13.2'` or of the version `2.15.0+cu132`. */
function cudaVersion(root: string, version: string): string | undefined {
  const python = /^cuda\b[^=\n]*=\s*'([^']+)'/m.exec(read(join(root, "version.py")))?.[1];
  const [, major, minor] = /\+cu(\d+)(\d)$/.exec(version) ?? [];
  return python ?? (major === undefined ? undefined : `${major}.${minor}`);
}

/** Of the wheels that a CUDA build of torch depends on, or of an installed toolkit. */
function cudaHeaders(root: string): string[] {
  const wheels = join(root, "..", "nvidia");
  const folders = existsSync(wheels) ? readdirSync(wheels).sort() : [];
  return [...folders.map((name) => join(wheels, name)), "/usr/local/cuda"]
    .map((folder) => join(folder, "include"))
    .filter((folder) => existsSync(folder));
}

/**
 * What of other packages c10d's ProcessGroupNCCL.hpp includes, directly or not. The wheels that torch depends on
 * bring all but `crt`, which is in nvidia-cuda-crt.
 */
const NCCL_HEADERS = [
  "torch/csrc/distributed/c10d/ProcessGroupNCCL.hpp",
  ...["nccl.h", "cuda_runtime.h", "crt/host_config.h"],
  ...["cublas_v2.h", "cublasLt.h", "cusparse.h", "cusolverDn.h"],
];

function hasNccl(includeDirs: readonly string[]): boolean {
  const searched = [...includeDirs, "/usr/include"]; // Debian's libnccl-dev
  return NCCL_HEADERS.every((header) => searched.some((dir) => existsSync(join(dir, header))));
}

/** Told by a constructor of c10::Error that takes a string: its name says which kind. */
function cxx11Abi(c10: string): boolean | undefined {
  const symbols = readFileSync(c10);
  const constructor = "_ZN3c105ErrorC2ENS_14SourceLocationE";
  if (symbols.includes(`${constructor}NSt7__cxx1112basic_string`)) return true;
  return symbols.includes(`${constructor}Ss`) ? false : undefined;
}

/** Recent headers refuse to be compiled as C++17, and say so at the top of ATen.h. */
function cxxStandard(header: string): number {
  const asked = /#error C\+\+(\d+) or later/.exec(read(header))?.[1];
  return Math.max(17, Number(asked ?? 17));
}

function read(file: string): string {
  return existsSync(file) ? readFileSync(file, "utf8") : "";
}

/** `libtorch 2.15.0+cu132 (CUDA 13.2)`. */
export function describeLibrary({ version, cuda }: LibTorch): string {
  return `libtorch ${version}${cuda === undefined ? "" : ` (CUDA ${cuda})`}`;
}
