// tfjs-node, where it is built or installed; suites that need it are skipped aloud where it is not.

import { describe } from "@jest/globals";

import { findTfjsNode } from "../../src/engine/tfjs/node/load.js";

/** Why there is no tfjs-node. */
export function tfjsNodeProblem(): string | undefined {
  const found = findTfjsNode("tfjs-node");
  return "problem" in found ? `${found.problem}; run: scripts/setup-tfjs-node` : undefined;
}

/** The tests of `body`; without tfjs-node, a skipped suite whose name says why. */
export function withTfjsNode(what: string, body: () => void): void {
  const problem = tfjsNodeProblem();
  if (problem === undefined) describe(what, body);
  else describe.skip(`${what}, skipped: ${problem}`, body);
}
