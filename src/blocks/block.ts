/**
 * What a block is: a rich, linear combination of branches in training that one convolution replaces
 * in deployment, followed by what is not linear. Both forms come from one definition: a block only
 * describes its branches, and `buildBlock` adds the rest.
 */
import { invalidArgument } from "../errors.js";
import type { Scope, Value } from "../graph/index.js";
import { channelsOf, conv, declareSqueezeExcite } from "./layers.js";

export type Structure = "train" | "deploy";

export type Activation = "none" | "relu" | "silu";

/** The convolution that a block stands for. Sizes in pixels. */
export interface ConvSpec {
  readonly out: number;
  /** Extent of the square kernel. */
  readonly kernel: number;
  readonly stride: number;
  readonly padding: number;
  readonly dilation: number;
  readonly groups: number;
}

/** What surrounds the convolution, the same in both structures. */
export interface Surroundings {
  readonly activation: Activation;
  /** RepVGG-D2se squeezes before the activation (`se`), RepVGGplus after it (`post_se`). */
  readonly squeeze?: { readonly position: "before" | "after"; readonly inner: number } | undefined;
}

/** A block without options; those that have options offer a function that takes them. */
export interface Block {
  /** For people: `DBB`. */
  readonly name: string;
  /** The reference's name for the convolution that replaces the branches. */
  readonly deployName: string;
  /** Why the block cannot stand for this convolution; undefined where it can. */
  declines(spec: ConvSpec, inChannels: number): string | undefined;
  /** The linear branches: x [I,H,W] → [O,H',W'], parameters declared in the reference's order. */
  branches(scope: Scope, x: Value, spec: ConvSpec): Value;
  /** A scalar to add to the loss, in place of weight decay: RepVGG's custom L2. `y` is what `branches` returned. */
  customL2?(scope: Scope, y: Value): Value;
}

/** Size-keeping padding, the default of every block: dilation * (kernel >> 1). */
export function samePadding(kernel: number, dilation = 1): number {
  return dilation * (kernel >> 1);
}

/** A full specification from what a caller cares about. */
export function convSpec(partial: Pick<ConvSpec, "out" | "kernel"> & Partial<ConvSpec>): ConvSpec {
  const { stride = 1, dilation = 1, groups = 1, kernel } = partial;
  const padding = partial.padding ?? samePadding(kernel, dilation);
  return { out: partial.out, kernel, stride, padding, dilation, groups };
}

export interface BuildOptions extends Partial<Surroundings> {
  readonly structure: Structure;
  /** Told of the custom L2 of a block that has one, in the training structure; without it none is built. */
  readonly onCustomL2?: ((penalty: Value) => void) | undefined;
}

/**
 * Adds a block to the graph in its training or deployed structure.
 * Throws exit-code-2 errors where the block cannot stand for the convolution.
 */
export function buildBlock(
  block: Block,
  scope: Scope,
  x: Value,
  spec: ConvSpec,
  options: BuildOptions,
): Value {
  const { activation = "none", squeeze } = options;
  const inChannels = channelsOf(x);
  const reason = declines(block, spec, inChannels);
  if (reason !== undefined) {
    const where = scope.path === "" ? block.name : `${scope.path}: ${block.name}`;
    throw invalidArgument(where, reason, formatSpec(spec, inChannels));
  }
  const gate =
    squeeze &&
    declareSqueezeExcite(
      scope.child(squeeze.position === "before" ? "se" : "post_se"),
      spec.out,
      squeeze.inner,
    );
  const before = gate && squeeze.position === "before" ? gate : (y: Value) => y;
  const after = gate && squeeze.position === "after" ? gate : (y: Value) => y;
  return after(activate(scope, before(linearPart(block, scope, x, spec, options)), activation));
}

/** Why `block` cannot stand for this convolution; undefined where it can. */
export function declines(block: Block, spec: ConvSpec, inChannels: number): string | undefined {
  const { out, kernel, stride, padding, dilation, groups } = spec;
  const whole = { out, kernel, stride, dilation, groups, inputs: inChannels };
  for (const [name, value] of Object.entries(whole)) {
    if (!Number.isSafeInteger(value) || value < 1) return `${name} a whole number from 1`;
  }
  if (!Number.isSafeInteger(padding) || padding < 0) return "padding a whole number from 0";
  if (inChannels % groups !== 0 || out % groups !== 0)
    return "groups that divide inputs and outputs";
  return block.declines(spec, inChannels);
}

function linearPart(
  block: Block,
  scope: Scope,
  x: Value,
  spec: ConvSpec,
  { structure, onCustomL2 }: BuildOptions,
): Value {
  if (structure === "deploy") return conv(scope, block.deployName, x, { ...spec, bias: true });
  const y = block.branches(scope, x, spec);
  if (onCustomL2 && block.customL2) onCustomL2(block.customL2(scope, y));
  return scope.builder.labelFold(y, scope.join(block.deployName));
}

function activate(scope: Scope, x: Value, activation: Activation): Value {
  switch (activation) {
    case "none":
      return x;
    case "relu":
      return scope.relu(x, "nonlinear");
    case "silu":
      return scope.silu(x, "nonlinear");
  }
}

/** `3x3 8→12 stride 2 padding 1 groups 2`, leaving out what is 1. */
export function formatSpec(spec: ConvSpec, inChannels: number): string {
  const { out, kernel, stride, padding, dilation, groups } = spec;
  const parts = [
    `${kernel}x${kernel}`,
    `${inChannels}→${out}`,
    stride === 1 ? "" : `stride ${stride}`,
    padding === samePadding(kernel, dilation) ? "" : `padding ${padding}`,
    dilation === 1 ? "" : `dilation ${dilation}`,
    groups === 1 ? "" : `groups ${groups}`,
  ];
  return parts.filter((part) => part !== "").join(" ");
}

/** Reasons that several blocks share. */
export const needs = {
  oddKernel: ({ kernel }: ConvSpec) => (kernel % 2 === 1 ? undefined : "an odd kernel"),
  samePadding: ({ kernel, padding, dilation }: ConvSpec) =>
    padding === samePadding(kernel, dilation)
      ? undefined
      : `padding ${samePadding(kernel, dilation)} (dilation * (kernel >> 1))`,
};
