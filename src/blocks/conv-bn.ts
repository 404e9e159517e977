/** The plain convolution and batch norm: `base`, and what other blocks leave 1x1 and 7x7 layers to. */
import type { Block } from "./block.js";
import { batchNorm, conv } from "./layers.js";

export const convBnBlock: Block = {
  name: "ConvBN",
  deployName: "conv",
  declines: () => undefined,
  branches: (scope, x, spec) => batchNorm(scope, "bn", conv(scope, "conv", x, spec)),
};
