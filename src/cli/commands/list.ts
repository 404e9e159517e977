/** `repkit list`: what there is to choose from, and what each choice costs. */
import { blockTypes } from "../../blocks/index.js";
import { graphMacs, parameterCount } from "../../graph/index.js";
import { architectures, buildModel } from "../../zoo/index.js";
import type { CommonOptions } from "../options.js";
import { formatCount, formatTable } from "../table.js";

/** One valid pair; parameters are numbers of trained values, MACs are per image of 224x224. */
interface Pair {
  readonly arch: string;
  readonly block: string;
  readonly params_train: number;
  readonly params_deploy: number;
  readonly macs_train: number;
  readonly macs_deploy: number;
}

export function list({ json }: CommonOptions): void {
  const pairs = architectures.flatMap(({ name, blocks }) =>
    blocks.map((block) => cost(name, block)),
  );
  process.stdout.write(json === true ? asJson(pairs) : asText(pairs));
}

function cost(arch: string, block: string): Pair {
  const { graph: train } = buildModel({ arch, block, structure: "train" });
  const { graph: deploy } = buildModel({ arch, block, structure: "deploy" });
  return {
    arch,
    block,
    params_train: parameterCount(train),
    params_deploy: parameterCount(deploy),
    macs_train: graphMacs(train),
    macs_deploy: graphMacs(deploy),
  };
}

function asJson(pairs: readonly Pair[]): string {
  const document = {
    architectures: architectures.map(({ name, blocks }) => ({ name, blocks })),
    blocks: blockTypes.map(({ name, summary }) => ({ name, summary })),
    pairs,
  };
  return `${JSON.stringify(document)}\n`;
}

function asText(pairs: readonly Pair[]): string {
  const blocks = formatTable(
    [{ title: "BLOCK" }, { title: "BRANCHES" }],
    blockTypes.map(({ name, summary }) => [name, summary]),
  );
  const models = formatTable(
    [
      { title: "ARCHITECTURE" },
      { title: "BLOCK" },
      { title: "PARAMS TRAIN", align: "right" },
      { title: "DEPLOY", align: "right" },
      { title: "MACS TRAIN", align: "right" },
      { title: "DEPLOY", align: "right" },
    ],
    pairs.map((pair, index) => [
      pairs[index - 1]?.arch === pair.arch ? "" : pair.arch,
      pair.block,
      formatCount(pair.params_train),
      formatCount(pair.params_deploy),
      formatCount(pair.macs_train),
      formatCount(pair.macs_deploy),
    ]),
  );
  return `${blocks}\n${models}\nMACs per image of 224x224; an architecture's first block is its default.\n`;
}
