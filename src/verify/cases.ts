/** What `repkit verify` runs where it is given no weights: every block in many forms, and small networks. */
import {
  type Block,
  blocks,
  blockType,
  buildBlock,
  type ConvSpec,
  convSpec,
  declines,
  formatSpec,
  type Structure,
} from "../blocks/index.js";
import {
  elementCount,
  type Graph,
  GraphBuilder,
  type Images,
  randomStream,
  structuralHash,
} from "../graph/index.js";
import { architecture, buildModel, type ModelOptions, quickSet } from "../zoo/index.js";

export interface Case {
  readonly name: string;
  readonly kind: "block" | "network";
  readonly train: Graph;
  /** The structural hash of what folding should give. */
  readonly deployHash: string;
  readonly images: Images;
}

/** Narrows what is run. */
export interface Selection {
  readonly arch?: string | undefined;
  /** A block type: `DBB`. */
  readonly block?: string | undefined;
}

/**
 * The names are checked at once, the graphs built as they are asked for. An architecture alone stands
 * for all of its blocks, a block alone for itself and the networks of the quick set that have it.
 * @throws RepkitError "usage" for names and pairs that do not exist
 */
export function selectCases({ arch, block }: Selection): readonly (() => Case)[] {
  if (block !== undefined) blockType(block);
  if (arch !== undefined && block !== undefined) buildModel({ arch, block, imageSize: IMAGE_SIZE });
  const pairs = (arch === undefined ? quickSet : [arch])
    .flatMap((name) => architecture(name).blocks.map((own) => ({ arch: name, block: own })))
    .filter((pair) => block === undefined || pair.block === block);
  const networks = pairs.map((pair) => () => networkCase(pair));
  return arch === undefined ? [...blockCases(block), ...networks] : networks;
}

/** Pixels: enough to pass through every layer of the registry's networks. */
const IMAGE_SIZE = 32;
const NETWORK_IMAGES = 2;
const CLASSES = 10;

function networkCase({ arch, block }: Pick<ModelOptions, "arch" | "block">): Case {
  const options = { arch, block, imageSize: IMAGE_SIZE, numClasses: CLASSES };
  return {
    name: `${arch} x ${block}`,
    kind: "network",
    train: buildModel(options).graph,
    deployHash: structuralHash(buildModel({ ...options, structure: "deploy" }).graph),
    images: randomBytes([NETWORK_IMAGES, IMAGE_SIZE, IMAGE_SIZE, 3]),
  };
}

/** A block for 1x1 convolutions alone gets that one. */
const KERNELS = [3, 5, 7] as const;
const STRIDES = [1, 2] as const;
const CHANNELS = 16;

/** Besides kernel and stride. The first keeps the width, so that blocks have their identity branches. */
const VARIANTS = [
  { out: CHANNELS },
  { out: 24 },
  { out: 32, groups: 4 },
  { out: CHANNELS, groups: CHANNELS },
  { out: CHANNELS, dilation: 2 },
] as const;

/** Batch, channels, pixels: the largest kernel, dilated, spans 13, so that some outputs see no border. */
const BLOCK_IMAGES = [2, CHANNELS, 18, 18] as const;

/** All blocks, or those that a type chooses from. */
function blockCases(type: string | undefined): readonly (() => Case)[] {
  const chosen = type === undefined ? undefined : blockType(type);
  const names = chosen && [1, ...KERNELS].map((kernel) => chosen.choose(kernel).name);
  return blocks
    .filter(({ name }) => names === undefined || names.includes(name))
    .flatMap((block) => specsOf(block).map((spec) => () => blockCase(block, spec)));
}

function specsOf(block: Block): readonly ConvSpec[] {
  const accepted = (kernels: readonly number[]) =>
    kernels
      .flatMap((kernel) =>
        STRIDES.flatMap((stride) =>
          VARIANTS.map((variant) => convSpec({ kernel, stride, ...variant })),
        ),
      )
      .filter((spec) => declines(block, spec, CHANNELS) === undefined);
  const specs = accepted(KERNELS);
  return specs.length > 0 ? specs : accepted([1]);
}

function blockCase(block: Block, spec: ConvSpec): Case {
  const [, channels, height, width] = BLOCK_IMAGES;
  const graphOf = (structure: Structure) => {
    const scope = new GraphBuilder().root();
    const x = scope.input([channels, height, width]);
    return scope.builder.build({
      y: buildBlock(block, scope.child("block"), x, spec, { structure }),
    });
  };
  return {
    name: `${block.name} ${formatSpec(spec, CHANNELS)}`,
    kind: "block",
    train: graphOf("train"),
    deployHash: structuralHash(graphOf("deploy")),
    images: randomValues(BLOCK_IMAGES),
  };
}

/** Uniform in ±1. */
function randomValues(shape: readonly number[]): Images {
  const random = randomStream(0, "values to verify with");
  return {
    shape,
    data: Float32Array.from({ length: elementCount(shape) }, () => 2 * random() - 1),
  };
}

/** Noise, as N,H,W,C bytes. */
export function randomBytes(shape: readonly number[]): Images {
  const random = randomStream(0, "images to verify with");
  return { shape, data: Uint8Array.from({ length: elementCount(shape) }, () => 256 * random()) };
}
