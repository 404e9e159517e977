// What a conformance suite is run on, and what all of them share.

import type {
  Device,
  Engine,
  Executable,
  LoadOptions,
  Precision,
} from "../../../src/engine/types.js";
import type { Graph, StateSource } from "../../../src/graph/index.js";

/** An engine in one of its precisions, on one of its devices. */
export interface Subject {
  readonly engine: Engine;
  readonly precision: Precision;
  readonly device?: Device;
  /** False for an engine that only infers. Default: true. */
  readonly hasGradients?: boolean;
  /**
   * Whether a batch norm adds up the values of a batch one after another in float32, which the
   * reference does not. Default: false.
   */
  readonly sumsStatisticsInFloat32?: boolean;
  /** Computes in fp64 what others are held against step by step. Default: `engine`. */
  readonly exactEngine?: Engine;
}

/**
 * Unit roundoff: half the distance from 1 to the next number, so the largest relative error of one
 * rounding. `tf32` and `bf16` round what is multiplied or stored; their sums are float32.
 */
export const ROUNDOFF: Readonly<Record<Precision, number>> = {
  fp64: 2 ** -53,
  fp32: 2 ** -24,
  tf32: 2 ** -11,
  bf16: 2 ** -8,
};

/** The reference recorded float32 numbers. */
export const RECORDED = ROUNDOFF.fp32;

export function load(
  { engine, precision, device = "cpu" }: Subject,
  graph: Graph,
  state: StateSource,
  options: LoadOptions = {},
): Promise<Executable> {
  return engine.load(graph, state, { precision, device, ...options });
}

export function subjectName({ engine, precision, device = "cpu" }: Subject): string {
  return `${engine.name}, ${device}, ${precision}`;
}
