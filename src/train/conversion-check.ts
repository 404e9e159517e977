/** The trained model against its deployed form, on the engine and the images of its validation. */
import type { Engine, LoadOptions } from "../engine/types.js";
import { evaluate } from "../evaluate/evaluate.js";
import {
  type Graph,
  type Images,
  parameterCount,
  type StateSource,
  type Tensor,
} from "../graph/index.js";
import { fold } from "../reparam/index.js";
import type { ValidationData } from "./data.js";
import type { ConversionCheck } from "./run/index.js";

/** float32 rounding of two orders of summation, as a share of the largest logit. */
const TOLERANCE = 1e-4;

export interface TrainedModel {
  readonly graph: Graph;
  readonly state: StateSource;
  /** Percent, measured on `validation`. */
  readonly acc1: number;
}

/** In float32, whatever the training ran in. Folds the model, and runs both forms on the first batch and the deployed one on all images. */
export async function checkConversion(
  engine: Engine,
  placement: Pick<LoadOptions, "device" | "threads">,
  trained: TrainedModel,
  validation: ValidationData,
  signal: AbortSignal,
): Promise<ConversionCheck> {
  const deployed = fold(trained.graph, trained.state);
  const load: LoadOptions = { ...placement, precision: "fp32" };
  const before = await engine.load(trained.graph, trained.state, load);
  const after = await engine.load(deployed.graph, deployed.state, load);
  try {
    const [maxAbsDiff, largest] = await firstBatch(validation, signal, async (images) => {
      const [a, b] = [await before.infer(images), await after.infer(images)];
      return difference(first(a.outputs), first(b.outputs));
    });
    const { acc1 } = await evaluate(after, validation.batches({ signal }));
    const tolerance = TOLERANCE * largest;
    return {
      ...{ maxAbsDiff, tolerance, accBefore: trained.acc1, accAfter: acc1 },
      paramsTrain: parameterCount(trained.graph),
      paramsDeploy: parameterCount(deployed.graph),
      ok: maxAbsDiff <= tolerance,
    };
  } finally {
    await before.dispose();
    await after.dispose();
  }
}

async function firstBatch<T>(
  validation: ValidationData,
  signal: AbortSignal,
  use: (images: Images) => Promise<T>,
): Promise<T> {
  for await (const { images, release } of validation.batches({ signal })) {
    try {
      return await use(images);
    } finally {
      release();
    }
  }
  throw new Error("no image to check the conversion with");
}

function first(outputs: ReadonlyMap<string, Tensor>): Tensor {
  const [output] = outputs.values();
  return output!;
}

/** The largest difference, and the largest value of the first. */
function difference(a: Tensor, b: Tensor): readonly [number, number] {
  let [largestDifference, largest] = [0, 0];
  for (let i = 0; i < a.data.length; i++) {
    const x = Number(a.data[i]);
    largestDifference = Math.max(largestDifference, Math.abs(x - Number(b.data[i])));
    largest = Math.max(largest, Math.abs(x));
  }
  return [largestDifference, largest];
}
