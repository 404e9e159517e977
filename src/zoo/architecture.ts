/**
 * What an architecture is: a function that adds a classifier to a graph. It names its layers as the
 * reference does and leaves it to the network under construction which block each convolution becomes.
 */
import {
  buildBlock,
  convSpec,
  declines,
  formatSpec,
  type Block,
  type BlockType,
  type ConvSpec,
  type Structure,
  type Surroundings,
} from "../blocks/index.js";
import { channelsOf } from "../blocks/index.js";
import { usageError } from "../errors.js";
import type { Scope, Value } from "../graph/index.js";

export interface Architecture {
  readonly name: string;
  /** The block types that make sense for it; the first is the default. */
  readonly blocks: readonly string[];
  /** Adds the network; returns its outputs by name, `logits` first, auxiliary heads after it. */
  build(network: Network, images: Value): Readonly<Record<string, Value>>;
}

/** A convolution of the architecture, for tables. */
export interface Layer {
  /** The scope that holds its parameters: `stage1.0.conv1`. */
  readonly scope: string;
  readonly block: string;
  /** `3x3 64→64 stride 2` */
  readonly spec: string;
}

export type LayerOptions = Pick<ConvSpec, "out" | "kernel"> &
  Partial<ConvSpec> &
  Partial<Surroundings> & {
    /** A block that the architecture insists on, whatever type was chosen. */
    readonly always?: Block;
  };

/** The network being built: where its parameters live, and what its convolutions become. */
export class Network {
  readonly scope: Scope;
  readonly structure: Structure;
  readonly numClasses: number;
  readonly layers: Layer[] = [];
  /** The custom L2 of each block that has one, if asked for. */
  readonly penalties: Value[] = [];
  readonly #type: BlockType;
  readonly #customL2: boolean;

  constructor(
    scope: Scope,
    options: { type: BlockType; structure: Structure; numClasses: number; customL2?: boolean },
  ) {
    this.scope = scope;
    this.#type = options.type;
    this.structure = options.structure;
    this.numClasses = options.numClasses;
    this.#customL2 = options.customL2 ?? false;
  }

  /** A convolution with batch norm, and what surrounds it, as a block of the chosen type. */
  convolution(scope: Scope, x: Value, options: LayerOptions): Value {
    const { activation = "none", squeeze, always, ...partial } = options;
    const spec = convSpec(partial);
    const block = always ?? this.#type.choose(spec.kernel);
    const inChannels = channelsOf(x);
    const reason = declines(block, spec, inChannels);
    if (reason !== undefined) {
      const found = formatSpec(spec, inChannels);
      throw usageError(`${scope.path}: ${block.name} needs ${reason}, found ${found}`);
    }
    this.layers.push({ scope: scope.path, block: block.name, spec: formatSpec(spec, inChannels) });
    const alwaysRelu =
      this.#type.alwaysRelu === true && block === this.#type.choose(3) && activation === "none";
    return buildBlock(block, scope, x, spec, {
      structure: this.structure,
      activation: alwaysRelu ? "relu" : activation,
      squeeze,
      onCustomL2: this.#customL2 ? (penalty) => this.penalties.push(penalty) : undefined,
    });
  }
}

/** Block types for architectures of dense 3x3 convolutions. */
export const DENSE_BLOCKS = ["base", "ACB", "DBB", "RepVGG", "OREPA", "OREPA_VGG"] as const;

/** Those that also stand for grouped convolutions. */
export const GROUPED_BLOCKS = ["base", "ACB", "DBB", "RepVGG", "OREPA"] as const;
