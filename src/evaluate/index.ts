/** What trained models are worth: accuracy on a folder of images, classes of single images. */
export {
  evaluate,
  type EvaluateOptions,
  type Evaluation,
  type EvaluationBatch,
  type EvaluationShare,
  type Evaluator,
} from "./evaluate.js";
export type { ModelChoice } from "./model.js";
export { type ClassProbability, predict, type Prediction, type PredictOptions } from "./predict.js";
export { testCheckpoint, type TestOptions, type TestResult } from "./test.js";
