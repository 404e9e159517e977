/**
 * Checkpoints. Containers: safetensors and PyTorch files, read by slices and written atomically.
 * Models: what network a file holds, loaded and saved as such.
 */
export { writeFileAtomically, type ByteSink } from "../util/atomic-write.js";
export type {
  ContainerKind,
  ExtraKey,
  ExtraValue,
  InertValue,
  OpenOptions,
  StoredDType,
  StoredTensor,
  TensorFile,
  TensorInfo,
} from "./container.js";
export type {
  Comparison,
  Differences,
  Identity,
  MismatchedTensor,
  MissingTensor,
  TensorList,
} from "./differences.js";
export type { WritableDType } from "./dtypes.js";
export type { LazyEntry, ReadyEntry, TensorEntry } from "./entries.js";
export { printable, type ReadFailure } from "./failure.js";
export type { JsonValue } from "./json.js";
export {
  metadataDocument,
  readMetadata,
  writeMetadata,
  type CheckpointMetadata,
  type JsonObject,
} from "./metadata.js";
export {
  checkpointFrom,
  fileNotes,
  loadCheckpoint,
  networkNotes,
  weightsOf,
  type LoadedCheckpoint,
  type LoadOptions,
} from "./model-checkpoint.js";
export { openTensorFile } from "./open.js";
export { writePyTorch, type Wrapping } from "./pytorch-write.js";
export { openPyTorch } from "./pytorch.js";
export {
  describeIdentity,
  describeWanted,
  explain,
  recognise,
  requireRecognised,
  type AlsoMatch,
  type NearMiss,
  type Recognised,
  type Recognition,
  type Unknown,
  type Wanted,
} from "./recognise.js";
export { openSafetensors, writeSafetensors } from "./safetensors.js";
export {
  isSideName,
  outputContainer,
  saveCheckpoint,
  stageCheckpoint,
  type CheckpointWriter,
  type OutputContainer,
  type SaveOptions,
} from "./save-checkpoint.js";
