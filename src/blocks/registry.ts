/**
 * The block types of the command line (`-t`). A type chooses a block for each kernel size, as the
 * reference does: 1x1 and 7x7 convolutions stay plain except under OREPA, which has forms for them.
 * Adding one: a file with its `Block`, and a line here (docs/adding-a-block.md).
 */
import { usageError } from "../errors.js";
import { unknownName } from "../util/suggest.js";
import { acbBlock } from "./acb.js";
import type { Block } from "./block.js";
import { convBnBlock } from "./conv-bn.js";
import { dbbBlock } from "./dbb.js";
import { orepa1x1Block } from "./orepa-1x1.js";
import { orepaLargeBlock } from "./orepa-large.js";
import { orepaVggBlock } from "./orepa-vgg.js";
import { orepaBlock } from "./orepa.js";
import { repVggBlock } from "./repvgg.js";

export interface BlockType {
  readonly name: string;
  readonly summary: string;
  /** The block for a kernel of this extent. */
  choose(kernel: number): Block;
  /** True where the block ends in ReLU even if the architecture asks for none. */
  readonly alwaysRelu?: boolean;
}

const plain = () => convBnBlock;

export const blockTypes: readonly BlockType[] = [
  { name: "base", summary: "plain convolution and batch norm", choose: plain },
  { name: "ACB", summary: "KxK + Kx1 + 1xK (ACNet)", choose: middleSizes(acbBlock()) },
  { name: "DBB", summary: "KxK + 1x1 + 1x1→KxK + 1x1→average", choose: middleSizes(dbbBlock()) },
  { name: "RepVGG", summary: "KxK + 1x1 + identity", choose: middleSizes(repVggBlock) },
  {
    name: "RepVGGplus",
    summary: "RepVGG with squeeze-and-excitation after the activation",
    choose: middleSizes(repVggBlock),
  },
  { name: "OREPA", summary: "six terms folded into one kernel while training", choose: orepaForm },
  {
    name: "OREPA_VGG",
    summary: "RepVGG with an OREPA kernel as its dense branch",
    choose: middleSizes(orepaVggBlock),
    // Reference: blocks_repvgg.py gives RepVGGBlock_OREPA a ReLU by default, so ResNets built with
    // it have one after the second convolution of a basic block too. Their weights expect it.
    alwaysRelu: true,
  },
];

/** Throws an exit-code-2 error with the nearest name. */
export function blockType(name: string): BlockType {
  const found = blockTypes.find((type) => type.name === name);
  if (found !== undefined) return found;
  throw usageError(
    unknownName(
      "block",
      name,
      blockTypes.map((type) => type.name),
    ),
  );
}

function middleSizes(block: Block): (kernel: number) => Block {
  return (kernel) => (kernel === 1 || kernel >= 7 ? convBnBlock : block);
}

function orepaForm(kernel: number): Block {
  if (kernel === 1) return orepa1x1Block();
  return kernel >= 7 ? orepaLargeBlock : orepaBlock();
}

/** Every block by itself, in the forms that the types choose from. */
export const blocks: readonly Block[] = [
  convBnBlock,
  acbBlock(),
  dbbBlock(),
  repVggBlock,
  orepaBlock(),
  orepa1x1Block(),
  orepaLargeBlock,
  orepaVggBlock,
];
