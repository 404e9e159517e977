import { rmSync, symlinkSync } from "node:fs";
import { join } from "node:path";

import { describe, expect, test } from "@jest/globals";

import { discoverLibrary, requireLibrary } from "../../../src/engine/torch/discover.js";
import { inspectLibrary, type LibTorch } from "../../../src/engine/torch/library.js";
import { RepkitError } from "../../../src/errors.js";
import {
  fakeLibrary,
  fakePython,
  OLD_STRINGS,
  temporaryFolder,
  writeProgram,
  writeTree,
} from "../../helpers/torch-trees.js";

const folder = temporaryFolder();
let count = 0;
const newFolder = () => join(folder, String(count++));
const empty = writeTree(newFolder(), { "bin/.keep": "" });

/** An environment in which nothing is installed but what `bin` holds. */
const only = (bin: string, more: NodeJS.ProcessEnv = {}) => ({ PATH: bin, ...more });
const nothing = join(empty, "bin");

const remove = (path: string) => {
  rmSync(path, { recursive: true });
};

const errorOf = (run: () => unknown): RepkitError => {
  try {
    run();
  } catch (error) {
    if (error instanceof RepkitError) return error;
    throw error;
  }
  throw new Error("did not throw");
};

describe("a folder", () => {
  test("as an archive: version with CUDA from build-version, libraries of CUDA linked", () => {
    const root = fakeLibrary(newFolder(), {
      "build-version": "2.6.0+cu124\n",
      "lib/libtorch_cuda.so": "",
      "lib/libc10_cuda.so": "",
    });
    const include = join(root, "include");
    expect(inspectLibrary(root)).toEqual({
      library: {
        root,
        version: "2.6.0+cu124",
        includeDirs: expect.arrayContaining([
          include,
          join(include, "torch/csrc/api/include"),
        ]) as unknown,
        libraryDir: join(root, "lib"),
        libraries: ["torch", "torch_cpu", "c10", "torch_cuda", "c10_cuda"],
        cxx11Abi: true,
        cuda: "12.4",
        nccl: false,
        cxxStandard: 17,
      },
    });
  });

  test("as a Python package: version and CUDA from version.py, headers of NVIDIA's wheels", () => {
    const site = newFolder();
    const root = fakeLibrary(join(site, "torch"), {
      "version.py": "__version__ = '2.15.0+cu132'\ncuda: Optional[str] = '13.2'\nhip = None\n",
      "lib/libtorch_cuda.so": "",
      "include/ATen/ATen.h": "#error C++20 or later compatible compiler is required\n",
    });
    writeTree(site, { "nvidia/cu13/include/cuda.h": "" });
    const { library } = inspectLibrary(root) as { library: LibTorch };
    expect(library).toMatchObject({ version: "2.15.0+cu132", cuda: "13.2", cxxStandard: 20 });
    expect(library.includeDirs).toContain(join(site, "nvidia/cu13/include"));
  });

  test("NCCL takes CUDA, and every header that c10d's includes", () => {
    const cuda = { "lib/libtorch_cuda.so": "", "build-version": "2.15.0+cu132\n" };
    const headers = {
      "torch/include/torch/csrc/distributed/c10d/ProcessGroupNCCL.hpp": "",
      "nvidia/nccl/include/nccl.h": "",
      ...Object.fromEntries(
        ["cuda_runtime", "cublas_v2", "cublasLt", "cusparse", "cusolverDn"].map((name) => [
          `nvidia/cu13/include/${name}.h`,
          "",
        ]),
      ),
    };
    const hasNccl = (files: Record<string, string>, library: Record<string, string> = cuda) => {
      const site = newFolder();
      const root = fakeLibrary(join(site, "torch"), library);
      writeTree(site, files);
      return (inspectLibrary(root) as { library: LibTorch }).library.nccl;
    };
    const crt = { "nvidia/cu13/include/crt/host_config.h": "" };
    expect(hasNccl({ ...headers, ...crt })).toBe(true);
    expect(hasNccl(headers)).toBe(false);
    expect(hasNccl({ ...headers, ...crt }, { "build-version": "2.15.0\n" })).toBe(false);
  });

  test.each(["lib/x86_64-linux-gnu", "lib64"])("as a prefix with %s", (dir) => {
    if (process.arch !== "x64" && dir !== "lib64") return;
    const root = fakeLibrary(newFolder(), {}, dir);
    expect(inspectLibrary(root)).toMatchObject({
      library: { version: "2.4.1", libraryDir: join(root, dir), cuda: undefined },
    });
  });

  test("the kind of std::string is read off the library's symbols", () => {
    const abi = (text: string) =>
      (
        inspectLibrary(fakeLibrary(newFolder(), { "lib/libc10.so": text })) as {
          library: { cxx11Abi?: boolean };
        }
      ).library.cxx11Abi;
    expect(abi(`\0${OLD_STRINGS}\0`)).toBe(false);
    expect(abi("neither")).toBeUndefined();
  });

  test.each<[string, (root: string) => void, string]>([
    ["that is not there", (root) => remove(root), "does not exist"],
    ["without the library", (root) => remove(join(root, "lib")), "has no lib/libtorch_cpu.so"],
    ["with half a library", (root) => remove(join(root, "lib/libc10.so")), "has no libc10.so"],
    [
      "without headers",
      (root) => remove(join(root, "include")),
      "has the library but no headers (include/ATen/ATen.h)",
    ],
    [
      "without a version",
      (root) => remove(join(root, "include/torch/csrc")),
      "does not say which version it is",
    ],
    [
      "of an old version",
      (root) => writeTree(root, { "build-version": "1.8.1\n" }),
      "is libtorch 1.8.1; 1.13 or newer is needed",
    ],
  ])("%s is refused", (_name, spoil, reason) => {
    const root = fakeLibrary(newFolder());
    spoil(root);
    expect(inspectLibrary(root)).toMatchObject({
      reason: expect.stringContaining(reason) as unknown,
    });
  });

  test("beside the right one is answered with the right one", () => {
    const site = newFolder();
    const root = fakeLibrary(join(site, "torch"));
    expect(inspectLibrary(site)).toMatchObject({
      reason: expect.stringContaining(`${root} has`) as unknown,
    });
    expect(inspectLibrary(join(root, "lib"))).toMatchObject({
      reason: expect.stringContaining(`${root} has`) as unknown,
    });
  });
});

describe("REPKIT_LIBTORCH", () => {
  test("comes first, and nothing else is looked at", async () => {
    const root = fakeLibrary(newFolder());
    const env = only(nothing, { REPKIT_LIBTORCH: root });
    const found = await discoverLibrary({ env, prefix: fakeLibrary(newFolder()) });
    expect(found).toMatchObject({ source: "REPKIT_LIBTORCH", library: { root } });
    expect(found.candidates).toHaveLength(1);
  });

  test("--libtorch comes before it", async () => {
    const root = fakeLibrary(newFolder());
    const env = only(nothing, { REPKIT_LIBTORCH: "/nowhere" });
    const found = await discoverLibrary({ env, libtorch: root });
    expect(found).toMatchObject({ source: "--libtorch", library: { root } });
  });

  test("that is wrong is an error, though another libtorch is there", async () => {
    const env = only(nothing, { REPKIT_LIBTORCH: empty });
    const found = await discoverLibrary({ env, prefix: fakeLibrary(newFolder()) });
    const { kind, message, details } = errorOf(() => requireLibrary(found));
    expect(kind).toBe("environment");
    expect(message).toBe(
      `REPKIT_LIBTORCH: ${empty} has no lib/libtorch_cpu.so; expected the folder of an unpacked libtorch, of a torch package, or a prefix such as /usr`,
    );
    expect(details).toEqual({ reason: "no-library" });
  });

  test("none does without", async () => {
    const env = only(nothing, { REPKIT_LIBTORCH: "none" });
    const found = await discoverLibrary({ env, prefix: fakeLibrary(newFolder()) });
    expect(errorOf(() => requireLibrary(found)).message).toContain("libtorch is not to be used");
  });
});

describe("Python", () => {
  test("is asked before Debian: the virtual environment's, python3, python", async () => {
    const [bin, venv] = [newFolder(), newFolder()];
    const roots = [1, 2, 3].map(() => fakeLibrary(newFolder()));
    fakePython(join(venv, "bin"), "python", roots[0]!);
    fakePython(bin, "python3", roots[1]!);
    fakePython(bin, "python", roots[2]!);
    const prefix = fakeLibrary(newFolder());
    const env = only(bin, { VIRTUAL_ENV: venv });
    const found = await discoverLibrary({ env, prefix });
    const libraries = found.candidates.map((one) => ("library" in one ? one.library.root : one));
    expect(libraries).toEqual([...roots, prefix]);
    expect(found.source).toBe(join(venv, "bin", "python"));
  });

  test("that has no torch, fails or is not there leaves it to Debian, with the reason", async () => {
    const bin = newFolder();
    fakePython(bin, "python3", null);
    writeProgram(bin, "python", "#!/bin/sh\necho 'shim: no such version' >&2\nexit 127\n");
    const prefix = fakeLibrary(newFolder());
    const env = only(bin, { VIRTUAL_ENV: "/nowhere" });
    const found = await discoverLibrary({ env, prefix });
    expect(found).toMatchObject({ source: "Debian", library: { root: prefix } });
    expect(found.candidates.slice(0, 3)).toEqual([
      { source: "/nowhere/bin/python", reason: "is not installed" },
      { source: "python3", reason: `${join(bin, "python3")} has no torch` },
      { source: "python", reason: "fails: shim: no such version" },
    ]);
  });

  test("that answers something else is refused", async () => {
    const bin = newFolder();
    writeProgram(bin, "python3", "#!/bin/sh\necho hello\n");
    const { candidates } = await discoverLibrary({ env: only(bin), prefix: empty });
    expect(candidates[0]).toEqual({ source: "python3", reason: 'answers "hello"' });
  });

  test("under two names is listed once", async () => {
    const bin = newFolder();
    fakePython(bin, "python3", null);
    symlinkSync(join(bin, "python3"), join(bin, "python"));
    const { candidates } = await discoverLibrary({ env: only(bin), prefix: empty });
    expect(candidates.map(({ source }) => source)).toEqual(["python3", "Debian"]);
  });

  test("with a torch without headers is explained", async () => {
    const [bin, root] = [newFolder(), fakeLibrary(newFolder())];
    remove(join(root, "include"));
    fakePython(bin, "python3", root);
    const { candidates } = await discoverLibrary({ env: only(bin), prefix: empty });
    expect(candidates[0]).toEqual({
      source: "python3",
      reason: `${root} has the library but no headers (include/ATen/ATen.h)`,
    });
  });

  test("with Debian's torch, which is links to Debian's libtorch, leaves it to that", async () => {
    const [bin, prefix] = [newFolder(), fakeLibrary(newFolder())];
    const root = join(prefix, "lib", "python3", "dist-packages", "torch");
    writeTree(root, { "version.py": "__version__ = '2.4.1'\n" });
    symlinkSync(join(prefix, "include"), join(root, "include"));
    symlinkSync(join(prefix, "lib"), join(root, "lib"));
    fakePython(bin, "python3", root);
    const found = await discoverLibrary({ env: only(bin), prefix });
    expect(found).toMatchObject({ source: "Debian", library: { root: prefix } });
    expect(found.candidates[0]).toHaveProperty("reason", expect.stringContaining("Debian's"));
  });
});

test("nothing at all: one line with every place and a command", async () => {
  const found = await discoverLibrary({ env: only(nothing), prefix: empty });
  const { message } = errorOf(() => requireLibrary(found));
  expect(message).toMatch(
    /^no libtorch found \(python3: is not installed; python: is not installed; Debian: no libtorch-dev in .*\); run: .*(libtorch-dev|install torch)$/,
  );
});
