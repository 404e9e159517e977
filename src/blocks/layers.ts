/** The layers that blocks and architectures are made of, with PyTorch's names and initialisers. */
import type { Padding, Pair, Scope, Value } from "../graph/index.js";

/** The slope that makes kaimingUniform PyTorch's own default: a bound of 1/sqrt(fan_in). */
export const PYTORCH_SLOPE = Math.sqrt(5);

export interface ConvOptions {
  readonly out: number;
  readonly kernel: number | Pair;
  readonly stride?: number | undefined;
  readonly padding?: number | Pair | Padding | undefined;
  readonly dilation?: number | undefined;
  readonly groups?: number | undefined;
  readonly bias?: boolean | undefined;
}

/** `nn.Conv2d`: parameters `<name>.weight` and, with `bias`, `<name>.bias`. */
export function conv(scope: Scope, name: string, x: Value, options: ConvOptions): Value {
  const { out, kernel, stride, padding, dilation, groups = 1, bias = false } = options;
  const [height, width] = typeof kernel === "number" ? [kernel, kernel] : kernel;
  const layer = scope.child(name);
  const perGroup = channelsOf(x) / groups;
  const weight = layer.param("weight", [out, perGroup, height, width], {
    init: { kind: "kaimingUniform", a: PYTORCH_SLOPE },
    decay: "kernel",
  });
  const biasValue = bias ? biasOf(layer, out, perGroup * height * width) : undefined;
  return scope.conv2d(x, weight, biasValue, { stride, padding, dilation, groups }, name);
}

/** `nn.Linear` on a flattened activation. */
export function linear(scope: Scope, name: string, x: Value, out: number): Value {
  const layer = scope.child(name);
  const features = channelsOf(x);
  const weight = layer.param("weight", [out, features], {
    init: { kind: "kaimingUniform", a: PYTORCH_SLOPE },
    decay: "kernel",
  });
  return scope.linear(x, weight, biasOf(layer, out, features), name);
}

export interface BatchNormOptions {
  /** Pixels of border that hold BN(0) by the running statistics (DBB's BNAndPad). */
  readonly pad?: number | undefined;
  /** What gamma starts at; 1 unless a block says otherwise. */
  readonly gamma?: number | undefined;
}

/** `nn.BatchNorm2d`: `<name>.weight`, `.bias`, `.running_mean`, `.running_var`, `.num_batches_tracked`. */
export function batchNorm(
  scope: Scope,
  name: string,
  x: Value,
  { pad = 0, gamma = 1 }: BatchNormOptions = {},
): Value {
  const layer = scope.child(name);
  const shape = [channelsOf(x)];
  const weights = {
    gamma: layer.param("weight", shape, {
      init: { kind: "constant", value: gamma },
      decay: "norm",
    }),
    beta: layer.param("bias", shape, { init: { kind: "constant", value: 0 }, decay: "norm" }),
    mean: layer.buffer("running_mean", shape, { kind: "constant", value: 0 }),
    variance: layer.buffer("running_var", shape, { kind: "constant", value: 1 }),
    counter: layer.counter("num_batches_tracked"),
  };
  return scope.batchNorm(x, weights, { pad }, name);
}

/** Convolution without bias, then batch norm: `<name>.conv`, `<name>.bn`. */
export function convBn(
  scope: Scope,
  name: string,
  x: Value,
  options: ConvOptions & { readonly gamma?: number | undefined },
): Value {
  const layer = scope.child(name);
  return batchNorm(layer, "bn", conv(layer, "conv", x, options), { gamma: options.gamma });
}

/**
 * Squeeze-and-excitation (Hu et al., CVPR 2018): x * sigmoid(up(relu(down(mean(x))))), two 1x1
 * convolutions with bias. Its parameters are declared at once, because the reference registers it
 * before the branches whose output it scales; the result is applied later.
 */
export function declareSqueezeExcite(
  scope: Scope,
  channels: number,
  inner: number,
): (x: Value) => Value {
  const declare = (name: string, out: number, features: number) => {
    const layer = scope.child(name);
    const weight = layer.param("weight", [out, features, 1, 1], {
      init: { kind: "kaimingUniform", a: PYTORCH_SLOPE },
      decay: "kernel",
    });
    return { weight, bias: biasOf(layer, out, features) };
  };
  const down = declare("down", inner, channels);
  const up = declare("up", channels, inner);
  return (x) => {
    const squeezed = scope.conv2d(scope.globalAvgPool(x), down.weight, down.bias, {}, "down");
    const excited = scope.conv2d(scope.relu(squeezed), up.weight, up.bias, {}, "up");
    return scope.mul(x, scope.sigmoid(excited));
  };
}

/** Channels of an image batch, or features of a flattened one. */
export function channelsOf(x: Value): number {
  return x.type.shape[0] ?? 0;
}

function biasOf(layer: Scope, out: number, fanIn: number): Value {
  const bound = 1 / Math.sqrt(fanIn);
  return layer.param("bias", [out], { init: { kind: "uniform", bound }, decay: "bias" });
}
