/** The job behind `repkit bench`: how fast an engine runs a model. */
export { randomBatch, type BatchShape } from "./batch.js";
export {
  LEARNING_RATE,
  measure,
  median,
  operationsPerImage,
  TRAINING,
  type Measurement,
  type MeasureOptions,
  type OperationTime,
  type Work,
} from "./measure.js";
