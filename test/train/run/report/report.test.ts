// report.html: what it shows, that it is itself alone, and that nothing in it comes alive.

import { mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { describe, expect, it } from "@jest/globals";

import {
  renderReport,
  writeReport,
  type Metrics,
  type RunReport,
} from "../../../../src/train/run/index.js";

const METRICS: readonly Metrics[] = [1, 2].flatMap((epoch): Metrics[] => [
  ...[1, 2, 3].map((step): Metrics => ({
    ...{ kind: "step", epoch, step: 3 * (epoch - 1) + step, loss: 2 / (epoch + step), acc1: 20 },
    ...{ acc5: 60, lr: 0.1, images_per_second: 800 + step, data_seconds: 0.02, step_seconds: 0.08 },
  })),
  {
    ...{
      kind: "epoch",
      epoch,
      train_loss: 0.75 / epoch,
      val_loss: 0.8125,
      acc1: 41.25,
      acc5: 81.5,
    },
    ...{ best_acc1: 41.25, seconds: 64.5 },
  },
]);

const REPORT: RunReport = {
  title: "ResNet-18 x DBB",
  settings: {
    arch: "ResNet-18",
    optimizer: { momentum: 0.9, nesterov: false },
    classes: ["a", "b"],
  },
  metrics: METRICS,
  stepsPerEpoch: 3,
  conversion: {
    ...{ maxAbsDiff: 3.25e-6, tolerance: 1e-4, accBefore: 41.25, accAfter: 41.25 },
    ...{ paramsTrain: 26_300_000, paramsDeploy: 11_689_512, ok: true },
  },
};

const charts = (page: string) =>
  new Map(
    Array.from(page.matchAll(/<svg[^>]*aria-label="([^"]*)">([\s\S]*?)<\/svg>/g), (match) => [
      match[1] ?? "",
      match[2] ?? "",
    ]),
  );

describe("renderReport", () => {
  const page = renderReport(REPORT);

  it("has a curve of everything, with its values", () => {
    const all = charts(page);
    expect([...all.keys()]).toEqual([
      "Loss",
      "Accuracy",
      "Learning rate",
      "Throughput",
      "Waiting for data",
    ]);
    expect(all.get("Loss")).toContain("<title>train: 1 at 0.3333 epochs</title>");
    expect(all.get("Loss")).toContain("<title>train, epoch: 0.375 at 2 epochs</title>");
    expect(all.get("Loss")).toContain("<title>validation: 0.8125 at 1 epochs</title>");
    expect(all.get("Accuracy")).toContain("<title>train top-1: 20 at 0.6667 epochs</title>");
    expect(all.get("Accuracy")).toContain("<title>validation top-1: 41.25 at 2 epochs</title>");
    expect(all.get("Accuracy")).toContain("<title>validation top-5: 81.5 at 2 epochs</title>");
    expect(all.get("Learning rate")).toContain("<title>learning rate: 0.1 at 2 epochs</title>");
    expect(all.get("Throughput")).toContain("<title>images/s: 803 at 1 epochs</title>");
    expect(all.get("Waiting for data")).toContain("<title>data wait: 25 at 2 epochs</title>");
  });

  it("says how far the run is", () => {
    const tile = (name: string) =>
      new RegExp(`<span class="muted">${name}</span><b>([^<]*)</b>`).exec(page)?.[1];
    expect(tile("epochs done")).toBe("2");
    expect(tile("best top-1")).toBe("41.25 %");
    expect(tile("train loss")).toBe("0.375");
    expect(tile("images/s \\(median\\)")).toBe("802");
    expect(tile("time in epochs")).toBe("2 min");
    expect(page).toContain("<td>optimizer.momentum</td><td>0.9</td>");
    expect(page).toContain("<td>optimizer.nesterov</td><td>false</td>");
    expect(page).toContain("<td>classes</td><td>[&quot;a&quot;,&quot;b&quot;]</td>");
    expect(page).toContain('<td class="number">2</td><td class="number">0.375</td>');
  });

  it("says what came of the conversion", () => {
    expect(page).toContain("<b>Passed</b>");
    expect(page).toContain("largest difference of the logits 3.25e-6, tolerance 1e-4");
    expect(page).toContain('<td class="number">26,300,000</td><td class="number">11,689,512</td>');
    const { conversion } = REPORT;
    if (conversion === undefined) throw new Error("expected a conversion check");
    const failed = { ...conversion, ok: false, accBefore: undefined };
    expect(renderReport({ ...REPORT, conversion: failed })).toContain("<b>Failed</b>");
    expect(renderReport({ ...REPORT, conversion: undefined })).toContain("not been checked yet");
  });

  it("needs nothing else: no script, no address, no other file", () => {
    expect(page).not.toMatch(/https?:|\/\/|<script|<link|<img|@import|url\(|\son\w+=/i);
    expect(page).toContain("default-src 'none'; style-src 'unsafe-inline'");
    expect(page).toContain("@media (prefers-color-scheme: dark)");
  });

  it("is the same for the same run", () => {
    expect(renderReport(structuredClone(REPORT))).toBe(page);
  });

  it("lets nothing come alive that a tag, a path or a class is named", () => {
    const evil = `"><script>alert('x')</script><img src=x onerror=y>&`;
    const hostile = renderReport({
      ...REPORT,
      title: evil,
      settings: { tag: evil, [evil]: 1, nested: { [evil]: [evil] } },
    });
    expect(hostile).not.toMatch(/<script|<img/);
    const tags = (text: string) => Array.from(text.matchAll(/<[a-z]+/g), ([tag]) => tag);
    expect(new Set(tags(hostile))).toEqual(new Set(tags(page)));
  });

  it("cuts off long settings", () => {
    const classes = Array.from({ length: 1000 }, (_, index) => `class ${index}`);
    const long = renderReport({ ...REPORT, settings: { classes } });
    expect(long).toContain("class 10&quot;");
    expect(long).not.toContain("class 500");
  });

  it.each([
    ["nothing", []],
    ["one step", METRICS.slice(0, 1)],
    ["one epoch without steps", METRICS.slice(3, 4)],
    [
      "a run that diverged, without validation images",
      METRICS.map((line) => ({ ...line, loss: null, val_loss: null, acc1: null, acc5: null })),
    ],
  ])("is readable with %s", (_what, metrics) => {
    const small = renderReport({ ...REPORT, metrics });
    expect(charts(small).size).toBe(5);
    expect(small).not.toMatch(/NaN|undefined|Infinity|null/);
  });
});

describe("writeReport", () => {
  it("replaces the page at once", () => {
    const folder = mkdtempSync(join(tmpdir(), "repkit-report-"));
    try {
      const path = join(folder, "report.html");
      writeReport(path, { ...REPORT, metrics: [] });
      writeReport(path, REPORT);
      expect(readFileSync(path, "utf8")).toBe(renderReport(REPORT));
      expect(readdirSync(folder)).toEqual(["report.html"]);
    } finally {
      rmSync(folder, { recursive: true });
    }
  });
});
