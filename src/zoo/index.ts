/** Architectures as graph builders, and the registry. */
export {
  DENSE_BLOCKS,
  GROUPED_BLOCKS,
  Network,
  type Architecture,
  type Layer,
  type LayerOptions,
} from "./architecture.js";
export { classify } from "./classifier.js";
export {
  architecture,
  architectures,
  buildModel,
  IMAGENET_MEAN,
  IMAGENET_STD,
  MAX_CLASSES,
  MAX_IMAGE_SIZE,
  type Model,
  type ModelOptions,
  quickSet,
} from "./registry.js";
