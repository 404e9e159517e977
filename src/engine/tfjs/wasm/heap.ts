/**
 * The memory of TensorFlow.js's WebAssembly module, which kernels of our own share: they are handed
 * addresses of tensors in it, as its kernels are.
 */
import type { Tensor4D, Tensor, TensorInfo } from "@tensorflow/tfjs-core";

import { RepkitError } from "../../../errors.js";
import type { Tf } from "../backend.js";
import { CONV_WASM } from "./conv-wasm.js";
import { NORM_WASM } from "./norm-wasm.js";
import { WINDOW_WASM } from "./window-wasm.js";

type Kernel = (...parameters: number[]) => void;
type Kernels<Names extends string> = Readonly<Record<Names, Kernel>>;

/** What is used of the backend's own fields; version 4.22 has them. */
interface Backend {
  readonly wasm: {
    readonly HEAPF32: Float32Array;
    readonly asm: { readonly memory: WebAssembly.Memory };
    _malloc(bytes: number): number;
    _free(address: number): void;
  };
  readonly dataIdMap: { get(dataId: object): { readonly memoryOffset: number } };
  makeOutput(shape: number[], dtype: "float32"): TensorInfo;
  disposeData(dataId: object): boolean;
}

/** Takes bytes of memory that are given back when the call that lent it returns. */
export type Take = (bytes: number) => number;

export class Heap {
  readonly conv: Kernels<
    "fill" | "packWeights" | "packInputs" | "multiply" | "packOutputs" | "correlate"
  >;
  readonly window: Kernels<"depthwise" | "correlateChannels" | "maxPool" | "maxPoolGrad">;
  readonly norm: Kernels<
    "moments" | "gradientSums" | "normalise" | "normaliseGrad" | "scaleRows" | "wherePositive"
  >;
  private readonly backend: Backend;

  /** `tf`: with the WebAssembly backend set and ready. */
  constructor(readonly tf: Tf) {
    this.backend = tf.backend() as unknown as Backend;
    const { memory } = this.backend.wasm.asm;
    const load = <Names extends string>(code: string) =>
      new WebAssembly.Instance(new WebAssembly.Module(Buffer.from(code, "base64")), {
        env: { memory },
      }).exports as Kernels<Names>;
    this.conv = load(CONV_WASM);
    this.window = load(WINDOW_WASM);
    this.norm = load(NORM_WASM);
  }

  /** All of memory as numbers; stale as soon as anything is allocated. */
  get floats(): Float32Array {
    return this.backend.wasm.HEAPF32;
  }

  get integers(): Int32Array {
    return new Int32Array(this.floats.buffer);
  }

  /** Numbers of a tensor or of scratch; stale as soon as anything is allocated. */
  view(address: number, length: number): Float32Array {
    return new Float32Array(this.floats.buffer, address, length);
  }

  doubles(address: number, length: number): Float64Array {
    return new Float64Array(this.floats.buffer, address, length);
  }

  /** Where a tensor's values are, in bytes. */
  address(tensor: Tensor): number {
    if (tensor.dtype !== "float32") {
      throw new RepkitError("internal", `a kernel of tfjs:wasm was given ${tensor.dtype}`);
    }
    return this.backend.dataIdMap.get(tensor.dataId).memoryOffset;
  }

  /** A new tensor whose values are whatever memory holds. */
  output<T extends Tensor = Tensor4D>(shape: readonly number[]): T {
    const info = this.backend.makeOutput([...shape], "float32");
    if (this.backend.dataIdMap.get(info.dataId).memoryOffset === 0) {
      this.backend.disposeData(info.dataId);
      throw outOfMemory(shape.reduce((a, b) => a * b, 4));
    }
    return this.tf.engine().makeTensorFromTensorInfo(info) as T;
  }

  /** Runs a function with scratch memory, which is uninitialised and starts at multiples of 64. */
  borrow<R>(use: (take: Take) => R): R {
    const { wasm } = this.backend;
    const taken: number[] = [];
    try {
      return use((bytes) => {
        const address = wasm._malloc(bytes + 64) >>> 0;
        if (address === 0) throw outOfMemory(bytes);
        taken.push(address);
        return Math.ceil(address / 64) * 64;
      });
    } finally {
      for (const address of taken) wasm._free(address);
    }
  }
}

function outOfMemory(bytes: number): RepkitError {
  const mib = Math.ceil(bytes / 2 ** 20);
  return new RepkitError(
    "environment",
    `engine tfjs:wasm: no ${mib} MiB left in WebAssembly's memory, which ends at 4 GiB at most; use a smaller batch`,
  );
}
