/** Blocks: training-time branches and the convolution that replaces them, from one definition. */
export { acbBlock, type AcbOptions } from "./acb.js";
export {
  buildBlock,
  convSpec,
  declines,
  formatSpec,
  samePadding,
  type Activation,
  type Block,
  type BuildOptions,
  type ConvSpec,
  type Structure,
  type Surroundings,
} from "./block.js";
export { convBnBlock } from "./conv-bn.js";
export {
  DBB_BRANCHES,
  dbbBlock,
  type BranchOptions,
  type DbbBranch,
  type DbbOptions,
} from "./dbb.js";
export {
  batchNorm,
  channelsOf,
  conv,
  convBn,
  declareSqueezeExcite,
  linear,
  type BatchNormOptions,
  type ConvOptions,
} from "./layers.js";
export { orepaBlock, type OrepaOptions } from "./orepa.js";
export { orepa1x1Block, type Orepa1x1Options } from "./orepa-1x1.js";
export { orepaLargeBaseBlock, orepaLargeBlock } from "./orepa-large.js";
export { orepaVggBlock } from "./orepa-vgg.js";
export { blocks, blockType, blockTypes, type BlockType } from "./registry.js";
export { repVggBlock } from "./repvgg.js";
export {
  transformI,
  transformII,
  transformIII,
  transformIV,
  transformV,
  transformVI,
  type ParallelOptions,
} from "./transforms.js";
