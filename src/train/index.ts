/** The job behind `repkit train`. */
export type { TrainConfig } from "./config.js";
export { type FailureRecord, PeerFailure, recordOf } from "./distributed/failure.js";
export { configAt, ownPlace, type Place, placesOfNode } from "./distributed/place.js";
export { ALONE, inTeam, type Team } from "./distributed/team.js";
export { findRecipe, readRecipe } from "./recipe.js";
export { resolveConfig } from "./resolve-config.js";
export { train, type TrainJob, type TrainSummary } from "./train.js";
