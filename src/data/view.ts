/** How images are looked at: the crop and the augmentations of training, or the one view of evaluation. */
import { randomStream } from "../util/random.js";
import {
  type AugmentOptions,
  type RandomStreams,
  trainingPixelTransform,
} from "./augment/index.js";
import {
  evaluationPlacement,
  randomResizedCrop,
  type RandomResizedCropOptions,
} from "./placement.js";
import type { Place, RgbImage } from "./types.js";

/** Plain JSON data, so that it can go to worker threads. */
export type View = TrainingView | EvaluationView;

/** RandomResizedCrop and mirroring, then what `augment` asks for. */
export interface TrainingView extends RandomResizedCropOptions {
  readonly kind: "training";
  readonly augment: AugmentOptions;
}

/** Resize of the shorter side, then CenterCrop; both in pixels. */
export interface EvaluationView {
  readonly kind: "evaluation";
  readonly resize: number;
  readonly crop: number;
}

/** Height and width of the images that come out, in pixels. */
export function viewSize(view: View): number {
  return view.kind === "training" ? view.size : view.crop;
}

/** What happens to one image. */
export interface Look {
  readonly place: Place;
  /** After the image has been cropped and resized; undefined: nothing. */
  readonly augment: ((image: RgbImage) => void) | undefined;
}

/** The look at each image of an epoch: the same for the same seed, epoch and index, and nothing else. */
export type Looker = (epoch: number, index: number) => Look;

export function looker(view: View, seed: number): Looker {
  if (view.kind === "evaluation") {
    const look = { place: evaluationPlacement(view.resize, view.crop), augment: undefined };
    return () => look;
  }
  const transform = trainingPixelTransform(view.augment);
  return (epoch, index) => {
    const stream: RandomStreams = (name) => randomStream(seed, `${epoch}/${index}/${name}`);
    return {
      place: randomResizedCrop(view, stream("crop")),
      augment: transform === undefined ? undefined : (image) => transform(image, stream),
    };
  };
}
