/** Engines by name: how a graph gets to run. */
import { RepkitError, usageError } from "../errors.js";
import { unknownName } from "../util/suggest.js";
import type { Engine } from "./types.js";

export type * from "./types.js";

/** What `--engine` takes. */
export const ENGINE_NAMES = [
  ...["auto", "torch", "tfjs"],
  ...["tfjs:node-gpu", "tfjs:node", "tfjs:wasm", "tfjs:cpu"],
] as const;

export interface ChoiceOptions {
  /** Called with one line where `auto` could not have the engine that it prefers. */
  readonly onNote?: ((message: string) => void) | undefined;
}

/**
 * The engine of that name. `auto`: torch where its addon loads, else the best of tfjs; `tfjs`: the first
 * of its backends that is there. Throws an `environment` error with the command that mends it where the
 * engine is not there, and a usage error for a name that is none.
 */
export async function chooseEngine(name = "auto", options: ChoiceOptions = {}): Promise<Engine> {
  if (!ENGINE_NAMES.some((known) => known === name)) {
    throw usageError(unknownName("engine", name, ENGINE_NAMES));
  }
  if (name === "auto") return chooseBest(options);
  if (name === "torch") return loadTorch();
  const { BACKEND_NAMES } = await import("./tfjs/backend.js");
  const { tfjsEngine } = await import("./tfjs/engine.js");
  return tfjsEngine(BACKEND_NAMES.find((backend) => name === `tfjs:${backend}`));
}

async function chooseBest({ onNote }: ChoiceOptions): Promise<Engine> {
  try {
    return await loadTorch();
  } catch (error) {
    if (!(error instanceof RepkitError) || error.kind !== "environment") throw error;
    const { tfjsEngine } = await import("./tfjs/engine.js");
    const engine = await tfjsEngine();
    onNote?.(`using ${engine.name}; ${error.message}`);
    return engine;
  }
}

async function loadTorch(): Promise<Engine> {
  const { torchEngine } = await import("./torch/engine.js");
  return torchEngine();
}
