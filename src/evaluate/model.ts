/** A checkpoint to be evaluated, and how images are looked at for it. */
import { type LoadedCheckpoint, loadCheckpoint } from "../checkpoint/index.js";
import type { EvaluationView } from "../data/index.js";
import { usageError } from "../errors.js";
import { MAX_IMAGE_SIZE, type ModelOptions } from "../zoo/index.js";

/** What is left out comes from the file. */
export interface ModelChoice {
  readonly weights: string;
  readonly arch?: string | undefined;
  readonly block?: string | undefined;
  readonly structure?: ModelOptions["structure"] | undefined;
  readonly numClasses?: number | undefined;
  /** Take the weights from here ("model_ema"), where a file holds several. */
  readonly root?: string | undefined;
  /** Pixels. Default: what the file says, else 224. */
  readonly imageSize?: number | undefined;
  /** Shorter side before the centre is cut out, pixels. Default: as in training, else 256/224 of the size. */
  readonly resize?: number | undefined;
}

export interface ChosenModel {
  readonly checkpoint: LoadedCheckpoint;
  readonly view: EvaluationView;
}

export function openModel({ weights, resize, ...choice }: ModelChoice): ChosenModel {
  const { arch, block, structure, numClasses, root, imageSize } = choice;
  const checkpoint = loadCheckpoint(weights, {
    ...(arch === undefined ? {} : { arch }),
    ...(block === undefined ? {} : { block }),
    ...(structure === undefined ? {} : { structure }),
    ...(numClasses === undefined ? {} : { numClasses }),
    ...{ root, imageSize },
  });
  try {
    return { checkpoint, view: viewOf(checkpoint, resize) };
  } catch (error) {
    checkpoint.close();
    throw error;
  }
}

function viewOf({ model, metadata }: LoadedCheckpoint, wanted: number | undefined): EvaluationView {
  const crop = model.imageSize;
  const trained = crop === metadata?.imgSize ? metadata.recipe?.["valResize"] : undefined;
  const known = typeof trained === "number" ? trained : Math.round((crop * 256) / 224);
  const resize = wanted ?? known;
  if (!Number.isSafeInteger(resize) || resize < crop || resize > 2 * MAX_IMAGE_SIZE) {
    throw usageError(
      `--val-resize: expected pixels from ${crop} (--img-size) to ${2 * MAX_IMAGE_SIZE}, received ${resize}`,
    );
  }
  return { kind: "evaluation", resize, crop };
}
