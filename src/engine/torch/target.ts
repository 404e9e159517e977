/** The torch engine's addon, and how it is compiled against a libtorch. */
import { join } from "node:path";

import type { Addon, Target } from "../../addons/addon.js";
import { libraryFile } from "../../addons/files.js";
import { addonSources } from "../../addons/package.js";
import { compileFlags, linkFlags } from "../../addons/units.js";
import { describeLibrary, type LibTorch } from "./library.js";

export const TORCH_ADDON: Addon = {
  name: "torch",
  moduleName: "repkit_torch",
  sources: addonSources("torch"),
  bytesPerJob: 1.5e9, // a unit that includes ATen's headers
};

/** The addon with sources of one's own. */
export function torchAddon(sources = TORCH_ADDON.sources): Addon {
  return { ...TORCH_ADDON, sources };
}

export function torchTarget(addon: Addon, library: LibTorch): Target<LibTorch> {
  const { cxx11Abi, cuda, libraryDir } = library;
  const abi = cxx11Abi === undefined ? [] : [`-D_GLIBCXX_USE_CXX11_ABI=${cxx11Abi ? 1 : 0}`];
  return {
    addon,
    library,
    title: describeLibrary(library),
    libraryFile: join(libraryDir, libraryFile("torch_cpu")),
    cxxStandard: library.cxxStandard,
    cuda: cuda ?? null,
    compileFlags: compileFlags(addon, {
      ...library,
      options: openMpFlags(),
      definitions: [
        ...abi,
        ...(cuda === undefined ? [] : ["-DREPKIT_WITH_CUDA"]),
        ...(library.nccl ? ["-DUSE_C10D_NCCL"] : []), // c10d's own name
      ],
    }),
    linkFlags: linkFlags({
      ...library,
      // A worker thread that ends unloads its addons; the allocator that ATen was given must stay.
      // CUDA's kernels register themselves when their library loads, and nothing in the addon names them.
      options: ["-Wl,-z,nodelete", ...openMpFlags()],
    }),
  };
}

/** ATen's parallel loops are templates over OpenMP. */
function openMpFlags(): readonly string[] {
  return process.platform === "darwin" ? ["-Xclang", "-fopenmp"] : ["-fopenmp"];
}
