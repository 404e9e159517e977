/**
 * The six transforms of the Diverse Branch Block paper as blocks of their own, with or without bias
 * and batch norm per branch, as the Keras ports offer them. I, III, V and VI are branches of DBB;
 * II and IV put several KxK convolutions side by side.
 */
import type { Scope, Value } from "../graph/index.js";
import { needs, samePadding, type Block, type ConvSpec } from "./block.js";
import { dbbBlock, type BranchOptions, type DbbBranch } from "./dbb.js";
import { batchNorm, conv, type ConvOptions } from "./layers.js";

export interface ParallelOptions extends BranchOptions {
  /** Number of parallel convolutions. Default: 2. */
  readonly count?: number;
}

/** I: a convolution and its batch norm. */
export const transformI = (options: BranchOptions = {}): Block => dbbBranch("origin", options);

/** II: the sum of `count` convolutions of the same size. */
export function transformII({ count = 2, ...options }: ParallelOptions = {}): Block {
  return {
    name: "TransformII",
    deployName: "reparam",
    declines: () => declinesCount(count),
    branches: (scope, x, spec) =>
      scope.add(numbered(count, (index) => branch(scope, `branch${index}`, x, spec, options))),
  };
}

/** III: 1x1, then KxK. */
export const transformIII = (options: BranchOptions = {}): Block => dbbBranch("1x1_kxk", options);

/** IV: `count` convolutions, each making its share of the output channels, joined in depth. */
export function transformIV({ count = 2, ...options }: ParallelOptions = {}): Block {
  return {
    name: "TransformIV",
    deployName: "reparam",
    declines({ out, groups }) {
      const reason = declinesCount(count);
      if (reason !== undefined) return reason;
      if (groups !== 1) return "groups 1";
      return out % count === 0 ? undefined : `outputs a multiple of ${count}`;
    },
    branches(scope, x, spec) {
      const share = { ...spec, out: spec.out / count };
      return scope.concat(
        numbered(count, (index) => branch(scope, `branch${index}`, x, share, options)),
      );
    },
  };
}

/** V: average pooling (after a 1x1 convolution, unless depthwise). */
export const transformV = (options: BranchOptions = {}): Block => dbbBranch("avg", options);

/** VI: every odd kernel up to KxK, and 1xK and Kx1, aligned at their centres. */
export function transformVI(options: BranchOptions = {}): Block {
  return {
    name: "TransformVI",
    deployName: "reparam",
    declines: (spec) => needs.oddKernel(spec) ?? needs.samePadding(spec),
    branches(scope, x, spec) {
      const { kernel, dilation } = spec;
      const pad = samePadding(kernel, dilation);
      const squares = numbered((kernel + 1) / 2, (index) => {
        const size = 2 * index + 1;
        const padding = samePadding(size, dilation);
        return branch(scope, `square${size}`, x, { ...spec, kernel: size, padding }, options);
      });
      return scope.add([
        ...squares,
        branch(scope, "vertical", x, { ...spec, kernel: [kernel, 1], padding: [pad, 0] }, options),
        branch(
          scope,
          "horizontal",
          x,
          { ...spec, kernel: [1, kernel], padding: [0, pad] },
          options,
        ),
      ]);
    },
  };
}

function dbbBranch(name: DbbBranch, options: BranchOptions): Block {
  return dbbBlock({ branches: [name], branchOptions: { [name]: options } });
}

function branch(
  scope: Scope,
  name: string,
  x: Value,
  spec: ConvOptions | ConvSpec,
  { useBias = false, useBn = true }: BranchOptions,
): Value {
  const layer = scope.child(name);
  const y = conv(layer, "conv", x, { ...spec, bias: useBias });
  return useBn ? batchNorm(layer, "bn", y) : y;
}

function declinesCount(count: number): string | undefined {
  return Number.isSafeInteger(count) && count >= 1 ? undefined : "count a whole number from 1";
}

function numbered<T>(count: number, make: (index: number) => T): readonly T[] {
  return Array.from({ length: count }, (_, index) => make(index));
}
