import { describe, expect, test } from "@jest/globals";

import type { LibTorch } from "../../../src/engine/torch/library.js";
import { torchAddon, torchTarget } from "../../../src/engine/torch/target.js";

const ADDON = torchAddon("/src");

describe("flags", () => {
  const library: LibTorch = {
    root: "/usr",
    version: "1.13.0",
    includeDirs: ["/usr/include", "/usr/include/torch/csrc/api/include"],
    libraryDir: "/usr/lib/x86_64-linux-gnu",
    libraries: ["torch", "torch_cpu", "c10", "torch_cuda"],
    cxx11Abi: false,
    cuda: undefined,
    nccl: false,
    cxxStandard: 20,
  };

  test("follow the library", () => {
    const flags = torchTarget(ADDON, library).compileFlags;
    expect(flags).toContain("-std=c++20");
    expect(flags).toContain("-D_GLIBCXX_USE_CXX11_ABI=0");
    expect(flags).toContain("/usr/include/torch/csrc/api/include");
    expect(
      torchTarget(ADDON, { ...library, cxx11Abi: undefined }).compileFlags.join(" "),
    ).not.toMatch(/ABI/);
  });

  test("tell the sources of CUDA, and of NCCL where its headers are", () => {
    const definitions = (more: Partial<LibTorch>) =>
      torchTarget(ADDON, { ...library, ...more }).compileFlags.filter((flag) =>
        /CUDA|NCCL/.test(flag),
      );
    expect(definitions({})).toEqual([]);
    expect(definitions({ cuda: "13.2" })).toEqual(["-DREPKIT_WITH_CUDA"]);
    expect(definitions({ cuda: "13.2", nccl: true })).toEqual([
      "-DREPKIT_WITH_CUDA",
      "-DUSE_C10D_NCCL",
    ]);
  });

  test("do not put /usr/include before the compiler's own headers", () => {
    expect(torchTarget(ADDON, library).compileFlags).not.toContain("/usr/include");
  });

  test("link what nothing refers to, and find it again when loading", () => {
    if (process.platform !== "linux") return;
    const flags = torchTarget(ADDON, library).linkFlags.join(" ");
    expect(flags).toContain("-Wl,--no-as-needed -ltorch -ltorch_cpu -lc10 -ltorch_cuda");
    expect(flags).toContain("-Wl,-rpath,/usr/lib/x86_64-linux-gnu");
  });
});
