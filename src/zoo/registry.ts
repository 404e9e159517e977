/**
 * The architectures by name, and the one way to a model. Command line, checkpoints and tests share
 * it. Adding an architecture: a file with its `Architecture`, and a line here
 * (docs/adding-an-architecture.md).
 */
import { blockType, type Structure } from "../blocks/index.js";
import { invalidArgument, usageError } from "../errors.js";
import { GraphBuilder, type BuilderOptions, type Graph, type Value } from "../graph/index.js";
import { suggest, unknownName } from "../util/suggest.js";
import { Network, type Architecture, type Layer } from "./architecture.js";
import { mobilenet } from "./mobilenet.js";
import { repvggs } from "./repvgg.js";
import { repvggplus } from "./repvggplus.js";
import { resnets } from "./resnet.js";

export const architectures: readonly Architecture[] = [
  ...resnets,
  mobilenet,
  ...repvggs,
  repvggplus,
];

/** Small networks of every family, each with every block it has: what `repkit verify` runs. */
export const quickSet: readonly string[] = ["ResNet-18", "MobileNet", "RepVGG-A0"];

/** Per channel (RGB) of ImageNet, in units of 255. */
export const IMAGENET_MEAN = [0.485, 0.456, 0.406] as const;
export const IMAGENET_STD = [0.229, 0.224, 0.225] as const;

/** Largest image side and class count: beyond any use, and every model still fits MAX_ELEMENTS. */
export const MAX_IMAGE_SIZE = 4096;
export const MAX_CLASSES = 500_000;

export interface ModelOptions {
  /** An architecture's name: `ResNet-18`. */
  readonly arch: string;
  /** A block type's name: `DBB`. */
  readonly block: string;
  /** Default: `train`. */
  readonly structure?: Structure;
  /** Default: 1000. */
  readonly numClasses?: number;
  /** Height and width of the images in pixels. Default: 224. */
  readonly imageSize?: number;
  /**
   * Also an output `customL2`, a scalar: the sum of all blocks' custom L2, which RepVGG adds to the
   * loss with half its weight decay. Training structure only. Default: false.
   */
  readonly customL2?: boolean;
}

export interface Model extends Required<Omit<ModelOptions, "customL2">> {
  readonly graph: Graph;
  /** The convolutions in order of execution. */
  readonly layers: readonly Layer[];
}

/**
 * Builds a classifier. Throws exit-code-2 errors that name the nearest valid architecture, block,
 * pair, class count or size. `building` may watch the parameters come, and stop.
 */
export function buildModel(options: ModelOptions, building: BuilderOptions = {}): Model {
  const { arch, block, structure = "train", numClasses = 1000, imageSize = 224 } = options;
  const { customL2 = false } = options;
  const { architecture, type } = resolvePair(arch, block);
  checkWhole("number of classes", numClasses, MAX_CLASSES);
  checkWhole("image size", imageSize, MAX_IMAGE_SIZE);
  const builder = new GraphBuilder(building);
  const scope = builder.root();
  const network = new Network(scope, { type, structure, numClasses, customL2 });
  const images = scope.input([3, imageSize, imageSize], { mean: IMAGENET_MEAN, std: IMAGENET_STD });
  const outputs = architecture.build(network, images);
  const penalty = customL2 ? totalPenalty(network, `${arch} x ${block}`) : undefined;
  return {
    arch,
    block,
    structure,
    numClasses,
    imageSize,
    graph: builder.build(penalty === undefined ? outputs : { ...outputs, customL2: penalty }),
    layers: network.layers,
  };
}

function totalPenalty({ scope, structure, penalties }: Network, what: string): Value {
  if (penalties.length > 0) return scope.add(penalties, "customL2");
  const reason = structure === "deploy" ? "its deployed structure" : "it";
  throw usageError(`${what}: no block of ${reason} has a custom L2; RepVGG's and OREPA_VGG's do`);
}

/** Throws an exit-code-2 error with the nearest name. */
export function architecture(name: string): Architecture {
  const found = architectures.find((candidate) => candidate.name === name);
  if (found !== undefined) return found;
  throw usageError(
    unknownName(
      "architecture",
      name,
      architectures.map(({ name }) => name),
    ),
  );
}

function resolvePair(arch: string, block: string) {
  const found = architecture(arch);
  const type = blockType(block);
  if (found.blocks.includes(block)) return { architecture: found, type };
  const near = suggest(block, found.blocks) ?? found.blocks[0] ?? "base";
  throw usageError(
    `${arch} has no block ${block}; nearest valid: ${near} (of ${found.blocks.join(", ")})`,
  );
}

function checkWhole(what: string, value: number, largest: number): void {
  if (Number.isSafeInteger(value) && value >= 1 && value <= largest) return;
  const nearest = Number.isNaN(value) ? 1 : Math.min(Math.max(Math.round(value), 1), largest);
  throw invalidArgument(
    what,
    `a whole number from 1 to ${largest} (nearest valid: ${nearest})`,
    value,
  );
}
