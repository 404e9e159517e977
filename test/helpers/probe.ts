// Is a block one convolution? Asked of the block itself, by what it answers to impulses.

import { expect } from "@jest/globals";

import {
  type Block,
  buildBlock,
  type ConvSpec,
  convSpec,
  type Structure,
  type Surroundings,
} from "../../src/blocks/index.js";
import {
  type Float64Tensor,
  type Graph,
  interpret,
  parametersOf,
  type State,
  tensor64,
} from "../../src/graph/index.js";
import { convolveSquare } from "./definitions.js";
import { filledState } from "./fill.js";
import { graphOf, outputOf } from "./graphs.js";
import { build, numbers } from "./numbers.js";

type Spec = Pick<ConvSpec, "out" | "kernel"> & Partial<ConvSpec>;

/** The block alone, on `inputs` channels of `size` x `size` pixels; its output is `y`. */
export function blockOf(
  block: Block,
  inputs: number,
  spec: Spec,
  options: Partial<Surroundings> & { structure?: Structure; size?: number } = {},
): Graph {
  const { structure = "train", size = 9, ...surroundings } = options;
  return graphOf((scope) =>
    buildBlock(block, scope, scope.input([inputs, size, size]), convSpec(spec), {
      structure,
      ...surroundings,
    }),
  );
}

/** Names of the state, of one batch norm `bn` as `bn.*`. */
export function stateNames(graph: Graph): readonly string[] {
  const names = parametersOf(graph).map(({ name }) => name);
  const norms = new Set(
    names.filter((name) => name.endsWith("running_var")).map((name) => moduleOf(name)),
  );
  const shown = names.map((name) => (norms.has(moduleOf(name)) ? `${moduleOf(name)}.*` : name));
  return shown.filter((name, index) => shown.indexOf(name) === index);
}

const moduleOf = (name: string) => name.slice(0, Math.max(0, name.lastIndexOf(".")));

/** Shape of the output `y` without the batch. */
export function outputShape(graph: Graph): readonly number[] {
  return graph.nodes[graph.outputs[0]!.value]!.type.shape;
}

export function evaluate(graph: Graph, state: State, images: Float64Tensor): Float64Tensor {
  return outputOf(interpret(graph, state, images, { mode: "infer" }));
}

/**
 * The convolution that answers to impulses as the block does at one of its output pixels, and to
 * nothing as the block does there.
 */
export function probe(
  graph: Graph,
  state: State,
  inputs: number,
  spec: ConvSpec,
): { weight: Float64Tensor; bias: Float64Tensor } {
  const { out, kernel, stride, padding, dilation, groups } = spec;
  const [, height = 0, width = 0] = outputShape(graph);
  const [row, column] = [height >> 1, width >> 1];
  const size = graph.nodes[0]!.type.shape[1]!;
  const taps = inputs * kernel * kernel;
  const top = row * stride - padding;
  const left = column * stride - padding;
  const reach = dilation * (kernel - 1);
  if (Math.min(top, left) < 0 || Math.max(top, left) + reach >= size) {
    throw new Error(`a window of ${reach + 1} pixels does not fit into an image of ${size}`);
  }
  // Image number t has its impulse under tap t of the pixel's window; the last image is empty.
  const images = tensor64([taps + 1, inputs, size, size]);
  for (let t = 0; t < taps; t++) {
    const [channel, tap] = [Math.floor(t / kernel ** 2), t % kernel ** 2];
    const u = top + Math.floor(tap / kernel) * dilation;
    const v = left + (tap % kernel) * dilation;
    images.data[((t * inputs + channel) * size + u) * size + v] = 1;
  }
  const answers = evaluate(graph, state, images);
  const answer = (t: number, o: number) =>
    answers.data[((t * out + o) * height + row) * width + column]!;
  const perGroup = inputs / groups;
  return {
    bias: build([out], ([o = 0]) => answer(taps, o)),
    weight: build([out, perGroup, kernel, kernel], ([o = 0, i = 0, u = 0, v = 0]) => {
      const channel = Math.floor((o * groups) / out) * perGroup + i;
      return answer((channel * kernel + u) * kernel + v, o) - answer(taps, o);
    }),
  };
}

/**
 * Expects the training structure, in evaluation and with all statistics filled, to be one
 * convolution of `spec` with a bias: in the middle and at every border, for any image.
 */
export function expectConvolution(block: Block, inputs: number, partial: Spec, size = 9): void {
  const spec = convSpec(partial);
  const graph = blockOf(block, inputs, spec, { size });
  const state = filledState(graph);
  const { weight, bias } = probe(graph, state, inputs, spec);
  const images = numbers("images", [1, inputs, size, size]);
  const expected = convolveSquare(images, weight, spec, bias);
  expect(evaluate(graph, state, images)).toBeCloseToTensor(expected, { relative: 1e-13 });
  const deployed = blockOf(block, inputs, spec, { size, structure: "deploy" });
  expect(outputShape(graph)).toEqual(outputShape(deployed));
  expect(outputShape(graph)).toEqual(expected.shape.slice(1));
}
