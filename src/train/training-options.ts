/** What the engine needs to know of a training run. */
import type { TrainingOptions } from "../engine/types.js";
import type { TrainConfig } from "./config.js";
import { parameterSettings } from "./param-groups.js";

/** With `custwd` the graph needs its custom L2 as an output: `buildModel({ customL2: true })`. */
export function trainingOptions(config: TrainConfig): TrainingOptions {
  const { momentum, nesterov, weightDecay, custwd, labelSmoothing, auxiliaryWeight } = config;
  return {
    ...{ momentum, nesterov, labelSmoothing, auxiliaryWeight },
    settings: parameterSettings({ rule: config.decayRule, weightDecay, custwd }),
    // Half, so that its gradient is weightDecay * p, as that of the decay it replaces: OREPA's train.py.
    penaltyWeight: custwd ? weightDecay * 0.5 : 0,
    ...(config.clipNorm === null ? {} : { clipNorm: config.clipNorm }),
    ...(config.emaDecay === null ? {} : { emaDecay: config.emaDecay }),
  };
}
