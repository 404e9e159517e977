/** repkit as a library: build, fold, load, save and convert models. */
export {
  buildBlock,
  type Block,
  blockTypes,
  type ConvSpec,
  convSpec,
  type Structure,
} from "./blocks/index.js";
export {
  type CheckpointMetadata,
  type LoadedCheckpoint,
  type LoadOptions,
  loadCheckpoint,
  openTensorFile,
  type Recognition,
  recognise,
  type SaveOptions,
  saveCheckpoint,
  type TensorFile,
} from "./checkpoint/index.js";
export { type Conversion, convert, type ConvertOptions } from "./convert/index.js";
export { type ErrorKind, EXIT_CODES, RepkitError } from "./errors.js";
export {
  type Graph,
  GraphBuilder,
  graphMacs,
  initialState,
  interpret,
  parameterCount,
  parametersOf,
  printGraph,
  type Scope,
  type State,
  type StateSource,
  type Tensor,
  type Value,
} from "./graph/index.js";
export {
  type EquivalentConvolution,
  equivalentKernel,
  fold,
  type Folded,
  foldGraph,
  type FoldedGraph,
  type FoldedGroup,
  type FoldOptions,
  type Refusal,
} from "./reparam/index.js";
export { architectures, buildModel, type Model, type ModelOptions } from "./zoo/index.js";
