/** `repkit predict WEIGHTS IMAGE...`: the likeliest classes of each image. */
import { RepkitError } from "../../errors.js";
import { predict, type Prediction } from "../../evaluate/index.js";
import { printable } from "../../util/printable.js";
import { progressBar } from "../progress.js";
import { formatTable } from "../table.js";
import {
  type ChooseEngine,
  chooseInstalled,
  type EvaluationOptions,
  loadOptions,
  modelChoice,
  remark,
} from "./evaluation-options.js";

export interface PredictCommandOptions extends EvaluationOptions {
  readonly topk: number;
}

export async function predictCommand(
  weights: string,
  images: readonly string[],
  options: PredictCommandOptions,
  choose: ChooseEngine = chooseInstalled,
): Promise<void> {
  const bar = await progressBar("predicting", options);
  let predictions: readonly Prediction[];
  try {
    predictions = await predict({
      ...modelChoice(weights, options),
      ...{ images, topk: options.topk },
      engine: () => choose(options.engine, (note) => remark(options, `note: ${note}`)),
      load: loadOptions(options),
      lenient: options.lenient === true,
      onNote: (note) => {
        remark(options, `note: ${note}`);
      },
      onProgress: bar.update,
    });
  } finally {
    bar.stop();
  }
  const usable = predictions.filter(({ failure }) => failure === undefined);
  if (options.json === true) process.stdout.write(asJson(predictions));
  else if (usable.length > 0) process.stdout.write(asTable(usable));
  reportFailures(predictions);
}

/** @throws RepkitError "file" where an image could not be used, after all others are printed */
function reportFailures(predictions: readonly Prediction[]): void {
  const failures = predictions.flatMap(({ failure }) => failure ?? []);
  const [only] = failures;
  if (only === undefined) return;
  if (failures.length === 1) throw only;
  for (const { message } of failures) process.stderr.write(`error: ${printable(message)}\n`);
  throw new RepkitError(
    "file",
    `${failures.length} of ${predictions.length} images could not be used`,
  );
}

function asJson(predictions: readonly Prediction[]): string {
  const document = predictions.map(({ image, classes, failure }) => ({
    ...{ image, predictions: classes },
    ...(failure === undefined ? {} : { error: failure.reason }),
  }));
  return `${JSON.stringify(document)}\n`;
}

function asTable(predictions: readonly Prediction[]): string {
  return formatTable(
    [{ title: "IMAGE" }, { title: "CLASS" }, { title: "PROBABILITY", align: "right" }],
    predictions.flatMap(({ image, classes }) =>
      classes.map(({ class: name, probability }, place) => [
        place === 0 ? printable(image, 120) : "",
        printable(name, 60),
        `${(100 * probability).toFixed(2)} %`,
      ]),
    ),
  );
}
