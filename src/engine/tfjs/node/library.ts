/** The TensorFlow that tfjs-node's addon is compiled against: the folder of a Python package `tensorflow`. */
import { existsSync, readdirSync } from "node:fs";
import { dirname, join, resolve } from "node:path";

import type { Candidate, Inspection, Library } from "../../../addons/addon.js";
import { RepkitError } from "../../../errors.js";

/** The libraries of the package, which bear their ABI version in their names. */
export const LIBRARIES = ["libtensorflow_cc.so.2", "libtensorflow_framework.so.2"] as const;

export interface TensorFlow extends Library {
  readonly includeDirs: readonly string[];
  readonly libraryDir: string;
}

/** What `REPKIT_TENSORFLOW` says to do without one. */
export const NO_TENSORFLOW = "none";

/** The folder that REPKIT_TENSORFLOW names, `none`, or undefined. */
export function namedTensorFlow(env: NodeJS.ProcessEnv): string | undefined {
  const named = env["REPKIT_TENSORFLOW"] ?? "";
  if (named === "" || named === NO_TENSORFLOW) return named === "" ? undefined : named;
  return resolve(named);
}

/** Looks at the folder of a package, as `pip install tensorflow` leaves it; nothing is executed. */
export function inspectTensorFlow(root: string): Inspection<TensorFlow> {
  for (const file of [...LIBRARIES, "include/tensorflow/c/eager/c_api.h"]) {
    if (!existsSync(join(root, file))) return { reason: `${root} has no ${file}` };
  }
  // The version is in no header: it stands in the name of the folder that describes the package.
  const version = readdirSync(dirname(root))
    .map((name) => /^tensorflow(?:_\w+)?-(\d[\w.]*)\.dist-info$/.exec(name)?.[1])
    .find((found) => found !== undefined);
  if (version === undefined) {
    return { reason: `${root} has no tensorflow-<version>.dist-info beside it` };
  }
  return {
    library: { root, version, includeDirs: [join(root, "include")], libraryDir: root },
  };
}

/** The library of a candidate, or an error that says why there is none. */
export function requireTensorFlow(candidate: Candidate<TensorFlow>): TensorFlow {
  if ("library" in candidate) return candidate.library;
  throw new RepkitError("environment", `${candidate.source}: ${candidate.reason}`);
}
