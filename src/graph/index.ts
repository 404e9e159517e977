/** The graph: data, builder, inference, printing, hashing, JSON, verifier, and a float64 interpreter. */
export {
  GraphBuilder,
  Scope,
  toPadding,
  type BuilderOptions,
  type ParameterOptions,
  type Value,
  type Window,
} from "./builder.js";
export { graphMacs, nodeMacs } from "./cost.js";
export { GraphError, type Mismatch } from "./errors.js";
export { structuralHash } from "./hash.js";
export { formatType, windowExtent } from "./checks.js";
export { inferType } from "./infer.js";
export { feedImages } from "./interpreter/feed.js";
export {
  interpret,
  interpretStepwise,
  type Images,
  type Interpretation,
  type InterpretOptions,
} from "./interpreter/index.js";
export { graphFromJson, graphToJson } from "./json.js";
export {
  constantTensor,
  initialState,
  initialTensor,
  parameterCount,
  parametersOf,
  forgetSharedConstants,
  sharedConstant,
  unshared,
} from "./parameters.js";
export { printGraph, valueName } from "./print.js";
export { randomStream } from "../util/random.js";
export {
  elementCount,
  formatShape,
  sameShape,
  tensor64,
  toFloat32,
  toFloat64,
  toFloats,
  type Float64Tensor,
  type FloatTensor,
  type State,
  type StateSource,
  type Tensor,
  type TensorData,
} from "./tensor.js";
export type * from "./types.js";
export { verifyGraph } from "./verify.js";
