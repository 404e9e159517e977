/** All rules, in the order in which they are tried at a node. The list is the design: see README.md. */
import type { Rule } from "../rule.js";
import { averagePool } from "./average-pool.js";
import { batchNormAlone } from "./batchnorm-alone.js";
import { convBatchNorm } from "./conv-batchnorm.js";
import { depthConcat } from "./depth-concat.js";
import { identityBranch } from "./identity-branch.js";
import { multiScale } from "./multi-scale.js";
import { nestedSum } from "./nested.js";
import { paddedBatchNorm } from "./padded-batchnorm.js";
import { parallel } from "./parallel.js";
import { sequence } from "./sequence.js";

export const rules: readonly Rule[] = [
  convBatchNorm,
  paddedBatchNorm,
  averagePool,
  sequence,
  nestedSum,
  parallel,
  depthConcat,
  multiScale,
  batchNormAlone,
  identityBranch,
];
