/** Converting checkpoints: training structure to deployed structure, or one container to another. */
import type { LoadOptions } from "../checkpoint/index.js";
import type { Model } from "../zoo/index.js";
import type { Verification } from "./verification.js";

export { convert } from "./conversion.js";
export type { Verification } from "./verification.js";

export interface ConvertOptions extends Omit<LoadOptions, "structure"> {
  readonly input: string;
  /** Its extension says which container: .ckpt, .safetensors, .pth, .pt, .pth.tar. */
  readonly output: string;
  /** Change the container only. */
  readonly keepStructure?: boolean;
  /** Run the model before and after, and write nothing where they differ. Default: true. */
  readonly verify?: boolean;
  /** That share large products; default: one per core. */
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
  /** Undefined where verification was turned off, or with `keepStructure`. */
  readonly verification: Verification | undefined;
  readonly notes: readonly string[];
  /** Size of the output. */
  readonly bytes: number;
}
