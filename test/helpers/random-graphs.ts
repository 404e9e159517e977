// Random graphs of linear branches, made from a seed: nested sums, concatenations and sequences of
// convolutions of all geometries, batch norms, poolings and identities, with a few nonlinearities,
// shared values, shared weights, labels and inner outputs strewn in.

import {
  elementCount,
  type Graph,
  GraphBuilder,
  type Padding,
  type Pair,
  randomStream,
  type Scope,
  type Value,
} from "../../src/graph/index.js";
import { normNamed } from "./folding.js";
import { weight } from "./graphs.js";

const { floor, max, min } = Math;

/** The graph of that seed. Its outputs are `y` and perhaps `inner0`, `inner1`, ... */
export function randomGraph(seed: number): Graph {
  return new Generator(seed).graph();
}

type Shape = readonly [channels: number, height: number, width: number];

/** What a branch is to compute from its source. */
interface Target {
  readonly shape: Shape;
  readonly stride: Pair;
}

class Generator {
  readonly #random: () => number;
  readonly #builder = new GraphBuilder();
  readonly #kernels: Value[] = [];
  readonly #values: Value[] = [];
  #count = 0;
  #budget = 24;

  constructor(seed: number) {
    this.#random = randomStream(seed, "graph");
  }

  graph(): Graph {
    const root = this.#builder.root();
    const channels = this.pick([1, 2, 3, 4, 6]);
    let x = root.input([channels, this.between(5, 9), this.between(5, 9)]);
    const inner: Value[] = [];
    for (let stage = this.between(1, 3); stage > 0; stage--) {
      x = this.stage(root.child(`stage${stage}`), x);
      if (this.chance(0.1) && this.#values.length > 0) inner.push(this.pick(this.#values));
      if (this.chance(0.3)) x = root.relu(x, `relu${stage}`);
    }
    const outputs = { ...Object.fromEntries(inner.map((value, i) => [`inner${i}`, value])), y: x };
    return this.#builder.build(outputs);
  }

  /** One value after another: a branch to some geometry, perhaps labelled, perhaps normalised. */
  private stage(scope: Scope, x: Value): Value {
    const [, height, width] = shapeOf(x);
    const stride: Pair = this.chance(0.3) ? [this.between(1, 2), this.between(1, 2)] : [1, 1];
    const keeps = stride[0] === 1 && stride[1] === 1 && this.chance(0.5);
    const out = keeps ? x.type.shape[0]! : this.pick([1, 2, 3, 4, 6, 8]);
    const extent = (size: number, step: number) =>
      max(1, floor((size - 1) / step) + 1 + (keeps ? 0 : this.between(-1, 1)));
    const shape: Shape = [out, extent(height, stride[0]), extent(width, stride[1])];
    const y = this.branch(scope, x, { shape, stride }, 3);
    const normed = this.chance(0.2) ? this.norm(scope, y) : y;
    if (this.chance(0.2) && normed !== x && normed.foldName === undefined) {
      const labelled = this.#builder.labelFold(normed, scope.join("reparam"));
      this.forget(normed);
      return labelled;
    }
    return normed;
  }

  /** A value of the target's shape, made from x. */
  private branch(scope: Scope, x: Value, target: Target, depth: number): Value {
    const y = this.unshared(scope, x, target, depth);
    if (y !== x) this.#values.push(y);
    return y;
  }

  private unshared(scope: Scope, x: Value, target: Target, depth: number): Value {
    if (--this.#budget < 0 || depth === 0) return this.conv(scope, x, target);
    const same = sameShape(shapeOf(x), target.shape);
    const choice = this.#random();
    if (choice < 0.22) return this.sum(scope, x, target, depth);
    if (choice < 0.32 && target.shape[0] > 1) return this.join(scope, x, target, depth);
    if (choice < 0.5) return this.sequence(scope, x, target, depth);
    if (choice < 0.62) return this.convNorm(scope, x, target);
    if (choice < 0.72) return this.pool(scope, x, target) ?? this.conv(scope, x, target);
    if (choice < 0.76)
      return scope.relu(this.branch(scope, x, target, depth - 1), this.name("relu"));
    if (choice < 0.84 && same) return x;
    if (choice < 0.9) return this.normAlone(scope, x, target) ?? this.convNorm(scope, x, target);
    if (choice < 0.93) {
      const alike = this.#values.filter((value) => sameShape(shapeOf(value), target.shape));
      if (alike.length > 0) return this.pick(alike);
    }
    return this.conv(scope, x, target);
  }

  private sum(scope: Scope, x: Value, target: Target, depth: number): Value {
    const inner = scope.child(this.name("sum"));
    const terms = this.times(this.between(2, 4), () => this.branch(inner, x, target, depth - 1));
    if (this.chance(0.1)) terms.push(terms[0]!);
    return scope.add(terms, this.name("add"));
  }

  private join(scope: Scope, x: Value, { shape, stride }: Target, depth: number): Value {
    const inner = scope.child(this.name("join"));
    const [out, height, width] = shape;
    const first = this.between(1, out - 1);
    const parts = [first, out - first].map((channels) =>
      this.branch(inner, x, { shape: [channels, height, width], stride }, depth - 1),
    );
    return scope.concat(parts, this.name("concat"));
  }

  /** Two branches, one after the other; either may have the stride. */
  private sequence(scope: Scope, x: Value, target: Target, depth: number): Value {
    const inner = scope.child(this.name("sequence"));
    const [, height, width] = shapeOf(x);
    const early = this.chance(0.3);
    const channels = this.pick([1, 2, 3, 4, 6, 8]);
    const middle: Target = early
      ? { shape: [channels, target.shape[1], target.shape[2]], stride: target.stride }
      : { shape: [channels, max(1, height + this.between(-1, 2)), width], stride: [1, 1] };
    const first = this.chance(0.5)
      ? this.point(inner, x, middle)
      : this.branch(inner, x, middle, depth - 1);
    const second: Target = { shape: target.shape, stride: early ? [1, 1] : target.stride };
    return this.branch(inner, first, second, depth - 1);
  }

  /** DBB's beginning: 1x1 without bias, then batch norm, perhaps with a border. */
  private point(scope: Scope, x: Value, { shape, stride }: Target): Value {
    const [, height, width] = shapeOf(x);
    if (this.chance(0.6)) {
      const shape1: Shape = [shape[0], height, width];
      const y = this.conv(scope, x, { shape: shape1, stride: [1, 1] }, [1, 1], false);
      const pad = this.pick([0, 1, 2]);
      return normNamed(scope, this.name("bn"), y, pad);
    }
    return this.conv(scope, x, { shape, stride }, [1, 1]);
  }

  private convNorm(scope: Scope, x: Value, { shape, stride }: Target): Value {
    const [channels, height, width] = shape;
    const border = (size: number) => (size > 2 && this.chance(0.3) ? this.between(0, 1) : 0);
    const pad: Padding = [border(height), border(height), border(width), border(width)];
    const inside: Shape = [channels, height - pad[0] - pad[1], width - pad[2] - pad[3]];
    const isPadded = pad.some((side) => side > 0);
    const kernel: Pair | undefined = isPadded && this.chance(0.7) ? [1, 1] : undefined;
    const y = this.conv(scope, x, { shape: inside, stride }, kernel);
    return normNamed(scope, this.name("bn"), y, pad);
  }

  private norm(scope: Scope, x: Value): Value {
    return normNamed(scope, this.name("bn"), x, this.chance(0.3) ? [1, 0, 2, 1] : 0);
  }

  /** A batch norm of x itself, where a border can make up for the difference in size. */
  private normAlone(scope: Scope, x: Value, { shape }: Target): Value | undefined {
    const [channels, height, width] = shapeOf(x);
    const [rows, columns] = [shape[1] - height, shape[2] - width];
    if (channels !== shape[0] || rows < 0 || columns < 0) return undefined;
    const [top, left] = [this.between(0, rows), this.between(0, columns)];
    return normNamed(scope, this.name("bn"), x, [top, rows - top, left, columns - left]);
  }

  private pool(scope: Scope, x: Value, { shape, stride }: Target): Value | undefined {
    const [channels, height, width] = shapeOf(x);
    if (channels !== shape[0]) return undefined;
    const kernel: Pair = [this.between(1, 4), this.between(1, 4)];
    const vertical = this.sides(height, shape[1], { kernel: kernel[0], stride: stride[0] });
    const horizontal = this.sides(width, shape[2], { kernel: kernel[1], stride: stride[1] });
    const allowed = (sides: Pair, extent: number) =>
      sides.every((side) => side >= 0 && side <= floor(extent / 2));
    if (!allowed(vertical, kernel[0]) || !allowed(horizontal, kernel[1])) return undefined;
    const padding: Padding = [...vertical, ...horizontal];
    const countIncludePad = this.chance(0.8);
    return scope.avgPool(x, { kernel, stride, padding, countIncludePad }, this.name("avg"));
  }

  /** A convolution of random geometry that gives the target; the padding follows from the rest. */
  private conv(
    scope: Scope,
    x: Value,
    { shape, stride }: Target,
    kernel: Pair = this.kernel(),
    biased = this.chance(0.3),
  ): Value {
    const [channels, height, width] = shapeOf(x);
    const [out] = shape;
    const groups = this.pick(commonDivisors(channels, out));
    const dilation: Pair = this.chance(0.3) ? [this.between(1, 3), this.between(1, 3)] : [1, 1];
    const axis = (size: number, wanted: number, index: 0 | 1) =>
      this.sides(size, wanted, {
        kernel: dilation[index] * (kernel[index] - 1) + 1,
        stride: stride[index],
      });
    const padding: Padding = [...axis(height, shape[1], 0), ...axis(width, shape[2], 1)];
    const name = this.name("conv");
    const layer = scope.child(name);
    const w = this.weight(layer, [out, channels / groups, ...kernel]);
    const bias = biased ? weight(layer, "bias", [out]) : undefined;
    return scope.conv2d(x, w, bias, { stride, padding, dilation, groups }, name);
  }

  /** Paddings before and after, either perhaps negative, for an output of `wanted` pixels. */
  private sides(size: number, wanted: number, window: { kernel: number; stride: number }): Pair {
    const total = window.stride * (wanted - 1) + window.kernel - size;
    const spare = this.between(0, window.stride - 1);
    const half = floor(total / 2);
    const before = this.chance(0.7) ? half : half + this.between(-2, 2);
    return [before, total + spare - before];
  }

  private kernel(): Pair {
    const extent = this.pick([1, 2, 3, 3, 5]);
    return this.pick([
      [1, 1],
      [1, 1],
      [extent, extent],
      [extent, extent],
      [extent, 1],
      [1, extent],
      [extent, 2],
    ] as const);
  }

  /** A parameter, new or shared, or an expression over several as OREPA's. */
  private weight(layer: Scope, shape: readonly [number, number, number, number]): Value {
    const [out, perGroup, height, width] = shape;
    const alike = this.#kernels.filter((kernel) => kernel.type.shape.join() === shape.join());
    if (alike.length > 0 && this.chance(0.1)) return this.pick(alike);
    const plain = (name: string, extents: readonly number[]) => weight(layer, name, extents);
    let kernel: Value;
    if (this.chance(0.8)) {
      kernel = plain("weight", shape);
    } else if (this.chance(0.3)) {
      kernel = layer.composeKernels(
        plain("first", [2, perGroup, 1, 1]),
        plain("second", [out, 2, height, width]),
        {
          correlate: this.chance(0.5),
        },
      );
    } else if (this.chance(0.4)) {
      const offset: Pair = [this.between(0, height - 1), this.between(0, width - 1)];
      kernel = layer.embed(plain("centre", [out, perGroup, 1, 1]), {
        kernel: [height, width],
        offset,
      });
    } else {
      const matrix = layer.reshape(plain("point", [out, perGroup, 1, 1]), [out, perGroup]);
      const waves = layer.einsum("oi,ohw->oihw", [matrix, plain("waves", [out, height, width])]);
      const sum = layer.add([plain("origin", shape), waves]);
      kernel = layer.scale(sum, layer.select(plain("vector", [2, out]), 1));
    }
    if (elementCount(shape) < 200) this.#kernels.push(kernel);
    return kernel;
  }

  // --- Chance

  private forget(value: Value): void {
    const index = this.#values.findIndex(({ id }) => id === value.id);
    if (index >= 0) this.#values.splice(index, 1);
  }

  private name(kind: string): string {
    return `${kind}${this.#count++}`;
  }

  private chance(probability: number): boolean {
    return this.#random() < probability;
  }

  /** A whole number, both ends included. */
  private between(least: number, most: number): number {
    return min(most, least + floor(this.#random() * (most - least + 1)));
  }

  private pick<T>(choices: readonly T[]): T {
    return choices[this.between(0, choices.length - 1)]!;
  }

  private times<T>(count: number, make: () => T): T[] {
    return Array.from({ length: count }, make);
  }
}

function shapeOf({ type }: Value): Shape {
  const [channels = 1, height = 1, width = 1] = type.shape;
  return [channels, height, width];
}

function sameShape(a: Shape, b: Shape): boolean {
  return a.every((extent, axis) => extent === b[axis]);
}

function commonDivisors(a: number, b: number): readonly number[] {
  return Array.from({ length: min(a, b) }, (_, i) => i + 1).filter(
    (divisor) => a % divisor === 0 && b % divisor === 0,
  );
}
