/**
 * Which parameters decay and which learn faster. The references decide by name, so the rules do:
 *
 * | rule           | learning rate x2 | no weight decay                                                     |
 * | -------------- | ---------------- | ------------------------------------------------------------------- |
 * | `dbb`          | `bias`           | `depth` (MobileNet's depthwise layers)                               |
 * | `orepa`        | `bias`           | `bias`, `bn`, `prior`                                                |
 * | `repvgg_paper` |                  | at the end `bias`, `rbr_dense.bn.weight`, `rbr_1x1.bn.weight`        |
 * | `repvgg_repo`  |                  | what has one dimension, except `identity.weight`                    |
 * | `all`          |                  |                                                                     |
 *
 * Sources: DingXiaoH/DiverseBranchBlock@8d2b16b and JUGGHM/OREPA_CVPR2022@3ed037b, train.py,
 * sgd_optimizer; DingXiaoH/RepVGG@eae7c52, README.md and train/optimizer.py.
 */
import type { ParameterSettings } from "../engine/types.js";
import type { ParamOp } from "../graph/index.js";

export const DECAY_RULES = ["dbb", "orepa", "repvgg_paper", "repvgg_repo", "all"] as const;

export type DecayRule = (typeof DECAY_RULES)[number];

export interface DecayOptions {
  readonly rule: DecayRule;
  readonly weightDecay: number;
  /**
   * The custom L2 penalty takes the place of the decay of the branches that it covers: `--custwd` of
   * OREPA's train.py, and what RepVGG's repvgg.py says above get_custom_L2.
   */
  readonly custwd: boolean;
}

/** The `settings` of the engine's training options. */
export function parameterSettings({
  rule,
  weightDecay,
  custwd,
}: DecayOptions): (parameter: Pick<ParamOp, "name" | "shape">) => Required<ParameterSettings> {
  return ({ name, shape }) => {
    const penalised = custwd && /rbr_dense|rbr_1x1/.test(name);
    return {
      lrMultiplier: learnsFaster(rule, name) ? 2 : 1,
      weightDecay: decays(rule, name, shape.length) && !penalised ? weightDecay : 0,
    };
  };
}

/** "Just a Caffe-style common practice. Made no difference.": DBB's train.py. */
function learnsFaster(rule: DecayRule, name: string): boolean {
  return (rule === "dbb" || rule === "orepa") && name.includes("bias");
}

function decays(rule: DecayRule, name: string, dimensions: number): boolean {
  switch (rule) {
    case "dbb":
      return !name.includes("depth");
    case "orepa":
      return !/bias|bn|prior/.test(name);
    case "repvgg_paper":
      return !/(bias|rbr_dense\.bn\.weight|rbr_1x1\.bn\.weight)$/.test(name);
    case "repvgg_repo":
      return name.includes("identity.weight") || (dimensions !== 1 && !name.endsWith(".bias"));
    case "all":
      return true;
  }
}
