/** Checkpoint containers: reading safetensors and PyTorch files, writing both, atomically. */
export { writeFileAtomically, type ByteSink } from "./atomic-write.js";
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
export type { WritableDType } from "./dtypes.js";
export type { LazyEntry, ReadyEntry, TensorEntry } from "./entries.js";
export type { ReadFailure } from "./failure.js";
export { openTensorFile } from "./open.js";
export { writePyTorch } from "./pytorch-write.js";
export { openPyTorch } from "./pytorch.js";
export { openSafetensors, writeSafetensors } from "./safetensors.js";
