/**
 * Converting checkpoints: training structure to deployed structure, or one container to another. What does
 * it is loaded when it is called, after the threads that help have been started.
 */
import type { LoadOptions } from "../checkpoint/index.js";
import type { Model } from "../zoo/index.js";
import { startPool } from "./pool.js";
import type { Verification } from "./verification.js";

export type { Verification } from "./verification.js";

export interface ConvertOptions extends Omit<LoadOptions, "structure"> {
  readonly input: string;
  /** Its extension says which container: .ckpt, .safetensors, .pth, .pt, .pth.tar. */
  readonly output: string;
  /** Change the container only. */
  readonly keepStructure?: boolean;
  /** Run the model before and after, and write nothing where they differ. Default: true. */
  readonly verify?: boolean;
  readonly threads?: number | undefined;
  /** Called with the convolutions folded so far and all of them. */
  readonly onProgress?: (done: number, total: number) => void;
}

/** Parameters and multiply-adds of one structure (per image, at the model's image size). */
export interface Cost {
  readonly params: number;
  readonly macs: number;
}

export interface Conversion {
  readonly input: string;
  readonly output: string;
  readonly arch: string;
  readonly block: string;
  readonly numClasses: number;
  readonly structure: Model["structure"];
  readonly before: Cost;
  readonly after: Cost;
  /** Number of convolutions that were folded. */
  readonly folded: number;
  /** Undefined where verification was turned off, or nothing was folded. */
  readonly verification: Verification | undefined;
  readonly notes: readonly string[];
  /** Size of the output. */
  readonly bytes: number;
}

/**
 * Converts a checkpoint. The output is put in place whole, after the check, or not at all.
 * @throws RepkitError "file" for inputs that are missing, unsafe, or of the wrong kind;
 *   "verification" where the deployed model differs from the trained one
 */
export async function convert(options: ConvertOptions): Promise<Conversion> {
  const { input, root, keepStructure = false, threads } = options;
  const pool = startPool({ path: input, root }, keepStructure ? 0 : threads);
  try {
    const { convertWith } = await import("./conversion.js");
    return await convertWith(pool, options);
  } finally {
    await pool.close();
  }
}
