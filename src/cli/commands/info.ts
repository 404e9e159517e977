/** `repkit info -a ARCH -t BLOCK`: what a model consists of. */
import {
  elementCount,
  formatShape,
  graphMacs,
  type Node,
  nodeMacs,
  parameterCount,
  parametersOf,
  printGraph,
} from "../../graph/index.js";
import { architecture, buildModel, type Model } from "../../zoo/index.js";
import type { CommonOptions } from "../options.js";
import { formatCount, formatTable } from "../table.js";

export interface InfoOptions extends CommonOptions {
  readonly arch: string;
  readonly blocktype?: string;
  readonly deploy?: true;
  readonly numClasses: number;
  readonly imgSize: number;
  readonly graph?: true;
}

export function info(options: InfoOptions): void {
  const model = buildModel({
    arch: options.arch,
    block: options.blocktype ?? defaultBlock(options.arch),
    structure: options.deploy === true ? "deploy" : "train",
    numClasses: options.numClasses,
    imageSize: options.imgSize,
  });
  if (options.json === true) process.stdout.write(`${JSON.stringify(asDocument(model))}\n`);
  else process.stdout.write(options.graph === true ? printGraph(model.graph) : asText(model));
}

function defaultBlock(arch: string): string {
  return architecture(arch).blocks[0] ?? "base";
}

function asDocument({ arch, block, structure, graph }: Model) {
  return {
    arch,
    block,
    mode: structure,
    params: parameterCount(graph),
    macs: graphMacs(graph),
    state: parametersOf(graph).map(({ name, shape, role }) => [name, shape, role]),
  };
}

function asText(model: Model): string {
  const { arch, block, structure, numClasses, imageSize, graph } = model;
  const title = `${arch} x ${block}, ${structure} structure, ${numClasses} classes, ${imageSize}x${imageSize} pixels`;
  const table = formatTable(
    [
      { title: "LAYER" },
      { title: "BLOCK" },
      { title: "CONVOLUTION" },
      { title: "OUTPUT" },
      { title: "PARAMS", align: "right" },
      { title: "MACS", align: "right" },
    ],
    layerRows(model).map(({ scope, what, spec, output, params, macs }) => [
      scope,
      what,
      spec,
      output,
      formatCount(params),
      formatCount(macs),
    ]),
  );
  const total = `${formatCount(parameterCount(graph))} parameters, ${formatCount(graphMacs(graph))} multiply-adds`;
  return `${title}\n\n${table}\n${total}\n`;
}

interface LayerRow {
  readonly scope: string;
  readonly what: string;
  readonly spec: string;
  output: string;
  params: number;
  macs: number;
}

/** A row per convolution of the architecture, and one per module with parameters outside of those. */
function layerRows({ graph, layers, structure }: Model): readonly LayerRow[] {
  const rows = new Map<string, LayerRow>();
  for (const { scope, block, spec } of layers) {
    const what = structure === "train" ? block : "conv";
    rows.set(scope, { scope, what, spec, output: "", params: 0, macs: 0 });
  }
  const layerScopes = new Set(rows.keys());
  for (const node of graph.nodes) {
    const macs = nodeMacs(graph, node);
    const isParameter = node.op.kind === "param";
    const scope =
      enclosing(node, layerScopes) ?? (isParameter || macs > 0 ? moduleOf(node) : undefined);
    if (scope === undefined) continue;
    let row = rows.get(scope);
    if (row === undefined) {
      row = { scope, what: "", spec: "", output: "", params: 0, macs: 0 };
      rows.set(scope, row);
    }
    if (node.op.kind === "param" && node.op.role === "param")
      row.params += elementCount(node.op.shape);
    row.macs += macs;
    if (node.type.world === "activation") row.output = formatShape(node.type.shape);
  }
  return [...rows.values()];
}

/** The innermost of the given scopes that holds the node. */
function enclosing(node: Node, scopes: ReadonlySet<string>): string | undefined {
  for (
    let path = node.name;
    path !== "";
    path = path.slice(0, Math.max(0, path.lastIndexOf(".")))
  ) {
    if (scopes.has(path)) return path;
  }
  return undefined;
}

/** `stage1_aux.3` of its parameter `stage1_aux.3.weight` and of its node `stage1_aux.3`. */
function moduleOf(node: Node): string {
  if (node.op.kind !== "param") return node.name;
  return node.name.slice(0, node.name.lastIndexOf("."));
}
