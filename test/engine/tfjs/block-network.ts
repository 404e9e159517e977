// A small network with one block of each kind, in their training structure.

import {
  acbBlock,
  buildBlock,
  convSpec,
  dbbBlock,
  linear,
  orepaBlock,
  repVggBlock,
} from "../../../src/blocks/index.js";
import { type Graph, GraphBuilder } from "../../../src/graph/index.js";

export const CLASSES = 10;
export const SIDE = 16; // pixels

export function blockNetwork(): Graph {
  const builder = new GraphBuilder();
  const scope = builder.root();
  const blocks = [
    { block: repVggBlock, spec: convSpec({ out: 8, kernel: 3 }) },
    { block: acbBlock(), spec: convSpec({ out: 8, kernel: 3, stride: 2 }) },
    { block: dbbBlock(), spec: convSpec({ out: 16, kernel: 3, groups: 2 }) },
    { block: dbbBlock(), spec: convSpec({ out: 16, kernel: 3, groups: 16 }) },
    { block: orepaBlock(), spec: convSpec({ out: 16, kernel: 3 }) },
  ];
  let x = scope.input([3, SIDE, SIDE]);
  for (const [index, { block, spec }] of blocks.entries()) {
    x = scope.relu(
      buildBlock(block, scope.child(`block${index}`), x, spec, { structure: "train" }),
    );
  }
  const logits = linear(scope, "linear", scope.flatten(scope.globalAvgPool(x)), CLASSES);
  return builder.build({ logits });
}
