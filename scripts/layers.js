// The layers of src/, from top to bottom. Imports only point down.
// eslint.config.js turns this table into banned imports; test/architecture.test.ts holds src/ against it.

/**
 * @typedef {object} Layer
 * @property {string} name folder (or file without extension) directly under src/
 * @property {readonly string[]} mayImport other layers it may import, besides `everywhere`
 * @property {string} reason why it may import nothing else
 */

/** Known to every layer; these import only each other. */
export const everywhere = ["errors", "util"];

/** @type {readonly Layer[]} */
export const layers = [
  {
    name: "cli",
    mayImport: [
      ...["train", "evaluate", "verify", "convert", "bench", "engine", "data", "checkpoint"],
      ...["reparam", "zoo", "blocks", "graph", "linalg", "addons", "index"],
    ],
    reason: "the command line is the top; nothing may depend on it",
  },
  {
    name: "index",
    mayImport: [
      ...["train", "evaluate", "verify", "convert", "bench", "engine", "data", "checkpoint"],
      ...["reparam", "zoo", "blocks", "graph"],
    ],
    reason:
      "the package's entry point re-exports the library, which works without the command line",
  },
  {
    name: "train",
    mayImport: ["evaluate", "engine", "data", "checkpoint", "zoo", "reparam", "graph"],
    reason: "training validates as evaluation does, and knows no other job",
  },
  {
    name: "verify",
    mayImport: ["engine", "checkpoint", "zoo", "reparam", "blocks", "graph"],
    reason: "verify builds every block by itself, runs it, and knows no other job",
  },
  {
    name: "convert",
    mayImport: ["checkpoint", "zoo", "reparam", "graph", "linalg"],
    reason:
      "convert folds the model of a checkpoint into another, checks it without an engine, and knows no other job",
  },
  ...["evaluate", "bench"].map((name) => ({
    name,
    mayImport: ["engine", "data", "checkpoint", "zoo", "reparam", "graph"],
    reason: `${name} is a job on its own: it gets its models from the zoo or a checkpoint and knows no other job`,
  })),
  {
    name: "engine",
    mayImport: ["graph", "addons"],
    reason: "an engine runs any graph, wherever it comes from, so it may know graphs alone",
  },
  {
    name: "data",
    mayImport: ["addons"],
    reason: "data makes batches of plain numbers and knows no model",
  },
  {
    name: "checkpoint",
    mayImport: ["graph", "zoo", "blocks"],
    reason:
      "a checkpoint stores named tensors and recognises whose they are; it runs and folds nothing",
  },
  {
    name: "reparam",
    mayImport: ["graph", "linalg"],
    reason: "rules rewrite graphs, not blocks, so that they fold any model",
  },
  {
    name: "zoo",
    mayImport: ["blocks", "graph"],
    reason: "an architecture is built of blocks and graph nodes and nothing else",
  },
  {
    name: "blocks",
    mayImport: ["graph"],
    reason: "a block is a function that writes graph nodes",
  },
  {
    name: "graph",
    mayImport: ["linalg"],
    reason: "the graph is data near the bottom, which every other layer can read",
  },
  {
    name: "linalg",
    mayImport: ["addons"],
    reason: "sums of plain numbers, whatever they mean",
  },
  {
    name: "addons",
    mayImport: [],
    reason: "compiling an addon and finding it again is the same whatever the addon does",
  },
  {
    name: "util",
    mayImport: [],
    reason: "utilities are at the very bottom",
  },
  {
    name: "errors",
    mayImport: [],
    reason: "errors are at the very bottom",
  },
];

/**
 * The layers that `layer` must not import.
 * @param {Layer} layer
 * @returns {string[]}
 */
export function bannedFrom(layer) {
  const allowed = new Set([layer.name, ...layer.mayImport, ...everywhere]);
  return layers.map(({ name }) => name).filter((name) => !allowed.has(name));
}
