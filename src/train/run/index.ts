/** The run directory: its lock and checkpoints, metrics, log, and report; and whom a run tells what. */
export { openRunDirectory, type RunDirectory, type RunDirectoryOptions } from "./directory.js";
export { openLog, type RunLog } from "./log.js";
export {
  openMetrics,
  readMetrics,
  type EpochMetrics,
  type Metrics,
  type MetricsFile,
  type ResumePoint,
  type StepMetrics,
} from "./metrics.js";
export {
  SILENT_OBSERVER,
  type EpochDone,
  type EpochStart,
  type StepDone,
  type TrainingObserver,
} from "./observer.js";
export { runPaths, type Moment, type RunPaths } from "./paths.js";
export type { ConversionCheck } from "./report/conversion.js";
export { renderReport, writeReport, type RunReport } from "./report/report.js";
