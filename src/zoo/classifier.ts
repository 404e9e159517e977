/** The head that all architectures share. */
import { linear } from "../blocks/index.js";
import type { Value } from "../graph/index.js";
import type { Network } from "./architecture.js";

/** Global average, flatten, `linear`: x [C,H,W] → [classes]. */
export function classify(network: Network, x: Value): Value {
  const { scope } = network;
  return linear(scope, "linear", scope.flatten(scope.globalAvgPool(x)), network.numClasses);
}
