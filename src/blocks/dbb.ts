/**
 * Diverse Branch Block (Ding et al., CVPR 2021): KxK, 1x1, 1x1→KxK and 1x1→average, each with batch
 * norm. Depthwise blocks have no 1x1 branch, a plain average, and an inner width of twice the input.
 * Reference: DingXiaoH/DiverseBranchBlock@8d2b16b, diversebranchblock.py.
 */
import type { Scope, Value } from "../graph/index.js";
import { needs, type Block, type ConvSpec } from "./block.js";
import { batchNorm, channelsOf, conv, type ConvOptions } from "./layers.js";

export const DBB_BRANCHES = ["origin", "avg", "1x1", "1x1_kxk"] as const;

export type DbbBranch = (typeof DBB_BRANCHES)[number];

/** What the Keras ports of the block let one choose for each branch. */
export interface BranchOptions {
  /** Convolutions with a bias. Default: false. */
  readonly useBias?: boolean;
  /** Batch norm after each convolution of the branch. Default: true. */
  readonly useBn?: boolean;
}

export interface DbbOptions {
  /** Width between the two convolutions of the 1x1→KxK branch. Default: I, or 2I if depthwise. */
  readonly innerChannels?: number;
  /** Start as the KxK branch alone: its gamma 1, the other branches' last gammas 0. */
  readonly singleInit?: boolean;
  /** The branches to build. Default: all (a depthwise block leaves out 1x1). */
  readonly branches?: readonly DbbBranch[];
  readonly branchOptions?: Partial<Record<DbbBranch, BranchOptions>>;
}

export function dbbBlock(options: DbbOptions = {}): Block {
  return {
    name: "DBB",
    deployName: "dbb_reparam",
    declines: (spec, inChannels) => declines(spec, inChannels, options),
    branches: (scope, x, spec) => branches(scope, x, spec, options),
  };
}

function declines(spec: ConvSpec, inChannels: number, options: DbbOptions): string | undefined {
  const { innerChannels, branches: chosen = DBB_BRANCHES } = options;
  const isDepthwise = spec.groups === spec.out;
  if (chosen.length === 0) return "at least one branch";
  if (innerChannels !== undefined && !(innerChannels >= 1 && innerChannels % spec.groups === 0)) {
    return `innerChannels a multiple of groups (=${spec.groups}), not ${innerChannels}`;
  }
  if (isDepthwise && chosen.includes("avg") && inChannels !== spec.out) {
    return "as many inputs as outputs where groups equal the outputs (the average has no 1x1)";
  }
  if (isDepthwise && chosen.every((branch) => branch === "1x1")) {
    return "another branch than 1x1, which a depthwise block leaves out";
  }
  return needs.oddKernel(spec) ?? needs.samePadding(spec);
}

function branches(scope: Scope, x: Value, spec: ConvSpec, options: DbbOptions): Value {
  const { branches: chosen = DBB_BRANCHES, branchOptions = {}, singleInit = false } = options;
  const isDepthwise = spec.groups === spec.out;
  const build = (name: DbbBranch, body: (parts: Parts) => Value): readonly Value[] => {
    if (!chosen.includes(name)) return [];
    const gamma = singleInit && name !== "origin" ? 0 : 1;
    return [body(new Parts(scope.child(`dbb_${name}`), branchOptions[name] ?? {}, gamma))];
  };
  // Declared in the reference's order of registration, added in its order of execution.
  const origin = build("origin", (parts) => parts.lastNorm("bn", parts.conv("conv", x, spec)));
  const avg = build("avg", (parts) => averageBranch(parts, x, spec, isDepthwise));
  const point = isDepthwise
    ? []
    : build("1x1", (parts) =>
        parts.lastNorm("bn", parts.conv("conv", x, { ...spec, kernel: 1, padding: 0 })),
      );
  const sequence = build("1x1_kxk", (parts) =>
    sequenceBranch(parts, x, spec, options.innerChannels),
  );
  return scope.add([...origin, ...point, ...avg, ...sequence]);
}

/** 1x1 → BN with border → average without padding; depthwise: zero-padded average alone. */
function averageBranch(parts: Parts, x: Value, spec: ConvSpec, isDepthwise: boolean): Value {
  const { scope } = parts;
  if (isDepthwise) return parts.lastNorm("avgbn", average(scope, x, spec, spec.padding));
  const first = { out: spec.out, kernel: 1, groups: spec.groups, padding: parts.convBorder(spec) };
  const mixed = parts.paddedNorm("bn", parts.conv("conv", x, first), spec);
  return parts.lastNorm("avgbn", average(scope, mixed, spec, 0));
}

/** KxK average. A dilated window has no pooling op: it is a depthwise convolution of 1/K². */
function average(scope: Scope, x: Value, spec: ConvSpec, padding: number): Value {
  const { kernel, stride, dilation } = spec;
  if (dilation === 1) return scope.avgPool(x, { kernel, stride, padding });
  const channels = channelsOf(x);
  const mean = { kind: "constant", value: 1 / kernel ** 2 } as const;
  const weight = scope.constant([channels, 1, kernel, kernel], mean, "avg.kernel");
  return scope.conv2d(x, weight, undefined, { stride, padding, dilation, groups: channels }, "avg");
}

/** 1x1 → BN with border → KxK without padding → BN; of the input's width, the first is weight + identity. */
function sequenceBranch(
  parts: Parts,
  x: Value,
  spec: ConvSpec,
  innerChannels: number | undefined,
): Value {
  const channels = channelsOf(x);
  const inner = innerChannels ?? (spec.groups < spec.out ? channels : 2 * channels);
  const first = { out: inner, kernel: 1, groups: spec.groups, padding: parts.convBorder(spec) };
  const mixed =
    inner === channels ? parts.identityConv("idconv1", x, first) : parts.conv("conv1", x, first);
  const padded = parts.paddedNorm("bn1", mixed, spec);
  return parts.lastNorm("bn2", parts.conv("conv2", padded, { ...spec, padding: 0 }));
}

/** The layers of one branch, with its options applied. */
class Parts {
  readonly scope: Scope;
  readonly #useBias: boolean;
  readonly #useBn: boolean;
  readonly #lastGamma: number;

  constructor(scope: Scope, options: BranchOptions, lastGamma: number) {
    this.scope = scope;
    this.#useBias = options.useBias ?? false;
    this.#useBn = options.useBn ?? true;
    this.#lastGamma = lastGamma;
  }

  /**
   * The padding of a branch's 1x1 convolution. The border of what follows must be what the branch
   * makes of zeros, or no convolution equals the sequence there. The reference lets a batch norm
   * without conv bias provide it (`paddedNorm`); otherwise the 1x1 convolution itself is padded.
   */
  convBorder({ padding }: ConvSpec): number {
    return this.#useBn && !this.#useBias ? 0 : padding;
  }

  /** The batch norm after the 1x1 convolution; it adds the border that `convBorder` left out. */
  paddedNorm(name: string, x: Value, spec: ConvSpec): Value {
    if (!this.#useBn) return x;
    const pad = spec.padding - this.convBorder(spec);
    return batchNorm(this.scope.child(name), "bn", x, { pad });
  }

  conv(name: string, x: Value, options: ConvOptions): Value {
    return conv(this.scope, name, x, { ...options, bias: this.#useBias });
  }

  /** The 1x1 convolution whose kernel is weight + identity and whose weight starts at zero. */
  identityConv(
    name: string,
    x: Value,
    { groups, padding }: { readonly groups: number; readonly padding: number },
  ): Value {
    const layer = this.scope.child(name);
    const channels = channelsOf(x);
    const shape = [channels, channels / groups, 1, 1];
    const zero = { kind: "constant", value: 0 } as const;
    const weight = layer.param("weight", shape, { init: zero, decay: "kernel" });
    const identity = layer.constant(shape, { kind: "identity" }, "identity");
    const kernel = layer.add([weight, identity], "kernel");
    const bias = this.#useBias
      ? layer.param("bias", [channels], { init: zero, decay: "bias" })
      : undefined;
    return this.scope.conv2d(x, kernel, bias, { groups, padding }, name);
  }

  /** The branch's last batch norm. */
  lastNorm(name: string, x: Value): Value {
    if (!this.#useBn) return x;
    return batchNorm(this.scope, name, x, { gamma: this.#lastGamma });
  }
}
