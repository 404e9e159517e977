/** The job behind `repkit train`. */
export type { TrainConfig } from "./config.js";
export { findRecipe, readRecipe } from "./recipe.js";
export { resolveConfig } from "./resolve-config.js";
export { train, type TrainJob, type TrainSummary } from "./train.js";
