/** Errors about graphs: which node, which op, what was expected and what was found. */
import { RepkitError } from "../errors.js";

export interface Mismatch {
  /** The node's name; empty while an op is checked outside a graph. */
  readonly node: string;
  readonly op: string;
  readonly what: string;
  readonly expected: string;
  readonly found: string;
}

/** Thrown where an op cannot be applied or a graph is not well formed. */
export class GraphError extends RepkitError {
  readonly mismatch: Mismatch;

  constructor(mismatch: Mismatch) {
    const { node, op, what, expected, found } = mismatch;
    const where = node === "" ? op : `${node}: ${op}`;
    super("usage", `${where}: ${what}: expected ${expected}, found ${found}`, {
      details: { ...mismatch },
    });
    this.name = "GraphError";
    this.mismatch = mismatch;
  }

  /** The same error, said of a node. */
  at(node: string): GraphError {
    return new GraphError({ ...this.mismatch, node });
  }
}
