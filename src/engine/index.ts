/** Engines by name: how a graph gets to run. */
import { RepkitError, usageError } from "../errors.js";
import type { Engine } from "./types.js";

export type * from "./types.js";

/**
 * The engine of that name (`auto`, `torch`). Throws an `environment` error with the command that mends
 * it where the engine is not there.
 */
export async function chooseEngine(name = "auto"): Promise<Engine> {
  if (name.startsWith("tfjs")) {
    throw new RepkitError("environment", `engine ${name}: not part of this version; use torch`);
  }
  if (name !== "auto" && name !== "torch") {
    throw usageError(`engine: expected auto or torch, received "${name}"`);
  }
  const { torchEngine } = await import("./torch/engine.js");
  return torchEngine();
}
