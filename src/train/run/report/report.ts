/**
 * report.html: one page about a run, which needs nothing but itself: no script, no other file, and a
 * policy by which the browser fetches none.
 */
import { writeFileAtomically } from "../../../util/atomic-write.js";
import type { EpochMetrics, Metrics, StepMetrics } from "../metrics.js";
import { lineChart, type Chart } from "./chart.js";
import { conversionSection, type ConversionCheck } from "./conversion.js";
import { escapeHtml, htmlTable } from "./html.js";
import { settingRows } from "./settings.js";
import { STYLE } from "./style.js";
import { formatNumber } from "./ticks.js";

export interface RunReport {
  /** Such as `ResNet-18 x DBB`. */
  readonly title: string;
  /** What config.json says. */
  readonly settings: Readonly<Record<string, unknown>>;
  readonly metrics: readonly Metrics[];
  /** Places the steps on the axis of epochs. */
  readonly stepsPerEpoch: number;
  readonly conversion: ConversionCheck | undefined;
}

/** Replaces the page. */
export function writeReport(path: string, report: RunReport): void {
  const page = Buffer.from(renderReport(report));
  writeFileAtomically(path, (sink) => sink.write(page));
}

/** The page: the same bytes for the same report. */
export function renderReport(report: RunReport): string {
  const title = escapeHtml(report.title);
  const steps = report.metrics.filter((metrics) => metrics.kind === "step");
  const epochs = report.metrics.filter((metrics) => metrics.kind === "epoch");
  const charts = chartsOf(steps, epochs, report.stepsPerEpoch);
  return `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
<title>${title}</title>
<style>${STYLE}</style>
</head>
<body>
<h1>${title}</h1>
<div class="tiles">
${tiles(steps, epochs)}
</div>
<h2>Curves</h2>
<div class="charts">
${charts.map((chart) => `<figure>${lineChart(chart)}</figure>`).join("\n")}
</div>
<h2>Conversion check</h2>
${conversionSection(report.conversion)}
<h2>Epochs</h2>
${epochTable(epochs)}
<h2>Settings</h2>
<div class="scroll">
${htmlTable([{ title: "setting" }, { title: "value" }], settingRows(report.settings))}
</div>
</body>
</html>
`;
}

function tiles(steps: readonly StepMetrics[], epochs: readonly EpochMetrics[]): string {
  const last = epochs.at(-1);
  const seconds = epochs.reduce((sum, epoch) => sum + (epoch.seconds ?? 0), 0);
  const facts: readonly (readonly [string, string])[] = [
    ["epochs done", String(last?.epoch ?? 0)],
    ["best top-1", percent(last?.best_acc1)],
    ["train loss", number(last?.train_loss ?? steps.at(-1)?.loss)],
    ["validation loss", number(last?.val_loss)],
    ["images/s (median)", number(median(steps.map((step) => step.images_per_second)))],
    ["time in epochs", duration(seconds)],
  ];
  return facts
    .map(
      ([name, value]) =>
        `<div class="tile"><span class="muted">${name}</span><b>${value}</b></div>`,
    )
    .join("\n");
}

function chartsOf(
  steps: readonly StepMetrics[],
  epochs: readonly EpochMetrics[],
  stepsPerEpoch: number,
): Chart[] {
  const byStep = (value: (step: StepMetrics) => number | null) =>
    steps.map((step) => ({ x: step.step / stepsPerEpoch, y: value(step) ?? NaN }));
  const byEpoch = (value: (epoch: EpochMetrics) => number | null) =>
    epochs.map((epoch) => ({ x: epoch.epoch, y: value(epoch) ?? NaN }));
  const wait = ({ data_seconds: data, step_seconds: all }: StepMetrics) =>
    data === null || all === null ? null : (100 * data) / all;
  return [
    {
      ...{ title: "Loss", xLabel: "epochs", yLabel: "loss" },
      curves: [
        { name: "train", points: byStep(({ loss }) => loss), isBackground: true },
        { name: "train, epoch", points: byEpoch((epoch) => epoch.train_loss) },
        { name: "validation", points: byEpoch((epoch) => epoch.val_loss) },
      ],
    },
    {
      ...{ title: "Accuracy", xLabel: "epochs", yLabel: "%" },
      curves: [
        { name: "train top-1", points: byStep(({ acc1 }) => acc1), isBackground: true },
        { name: "validation top-1", points: byEpoch(({ acc1 }) => acc1) },
        { name: "validation top-5", points: byEpoch(({ acc5 }) => acc5) },
      ],
    },
    {
      ...{ title: "Learning rate", xLabel: "epochs", yLabel: "learning rate", fromZero: true },
      curves: [{ name: "learning rate", points: byStep(({ lr }) => lr) }],
    },
    {
      ...{ title: "Throughput", xLabel: "epochs", yLabel: "images/s", fromZero: true },
      curves: [
        { name: "images/s", points: byStep((step) => step.images_per_second), isBackground: true },
      ],
    },
    {
      ...{ title: "Waiting for data", xLabel: "epochs", yLabel: "% of the step", fromZero: true },
      curves: [{ name: "data wait", points: byStep(wait), isBackground: true }],
    },
  ];
}

function epochTable(epochs: readonly EpochMetrics[]): string {
  if (epochs.length === 0) return '<p class="muted">None is done yet.</p>';
  const titles = [
    "epoch",
    "train loss",
    "val loss",
    "top-1 %",
    "top-5 %",
    "best top-1 %",
    "seconds",
  ];
  const rows = epochs.map((epoch) => [
    ...[String(epoch.epoch), number(epoch.train_loss), number(epoch.val_loss)],
    ...[number(epoch.acc1), number(epoch.acc5), number(epoch.best_acc1), number(epoch.seconds)],
  ]);
  const columns = titles.map((title) => ({ title, isNumber: true }));
  return `<div class="scroll">\n${htmlTable(columns, rows)}\n</div>`;
}

const NONE = "–";

function number(value: number | null | undefined): string {
  return value === null || value === undefined ? NONE : formatNumber(value);
}

function percent(value: number | null | undefined): string {
  return value === null || value === undefined ? NONE : `${value.toFixed(2)} %`;
}

/** 3725 → `1 h 2 min` */
function duration(seconds: number): string {
  if (seconds < 60) return `${formatNumber(seconds)} s`;
  const minutes = Math.round(seconds / 60);
  return minutes < 60 ? `${minutes} min` : `${Math.floor(minutes / 60)} h ${minutes % 60} min`;
}

function median(values: readonly (number | null)[]): number | undefined {
  const sorted = values.filter((value) => value !== null).sort((a, b) => a - b);
  return sorted[Math.floor(sorted.length / 2)];
}
