// metrics.jsonl: its exact lines, and what remains of them in a resumed run.

import {
  appendFileSync,
  existsSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { afterAll, beforeAll, beforeEach, describe, expect, it } from "@jest/globals";

import {
  openMetrics,
  readMetrics,
  type EpochMetrics,
  type Metrics,
  type StepMetrics,
} from "../../../src/train/run/index.js";

let root = "";
let path = "";
let files = 0;
beforeAll(() => {
  root = mkdtempSync(join(tmpdir(), "repkit-metrics-"));
});
beforeEach(() => {
  path = join(root, `${files++}.jsonl`);
});
afterAll(() => {
  rmSync(root, { recursive: true, force: true });
});

const START = { epoch: 0, step: 0 };

function step(number: number, epoch = Math.ceil(number / 4)): StepMetrics {
  return {
    // In another order than in the file.
    ...{ step_seconds: 0.5, data_seconds: 0.125, images_per_second: 16, lr: 0.1 / number },
    ...{ acc5: 50, acc1: 12.5, loss: 7 / number, step: number, epoch, kind: "step" },
  };
}

function epoch(number: number): EpochMetrics {
  return {
    ...{ kind: "epoch", epoch: number, train_loss: 1 / 3, val_loss: 1.5, acc1: 40, acc5: 80 },
    ...{ best_acc1: 41.5, seconds: 2.25 },
  };
}

/** Three epochs of four steps. */
const RUN: readonly Metrics[] = [1, 2, 3].flatMap((number) => [
  ...[3, 2, 1, 0].map((before) => step(4 * number - before)),
  epoch(number),
]);

function write(lines: readonly Metrics[], from = START): string {
  const metrics = openMetrics(path, from);
  for (const line of lines) metrics.append(line);
  metrics.flush();
  metrics.close();
  return readFileSync(path, "utf8");
}

describe("openMetrics", () => {
  it("writes the contract's lines, field by field", () => {
    expect(write([step(2), epoch(1)])).toBe(
      '{"kind":"step","epoch":1,"step":2,"loss":3.5,"acc1":12.5,"acc5":50,"lr":0.05,' +
        '"images_per_second":16,"data_seconds":0.125,"step_seconds":0.5}\n' +
        '{"kind":"epoch","epoch":1,"train_loss":0.3333333333333333,"val_loss":1.5,"acc1":40,' +
        '"acc5":80,"best_acc1":41.5,"seconds":2.25}\n',
    );
  });

  it("writes null for what is no number", () => {
    const text = write([{ ...step(1), loss: NaN, lr: Infinity }]);
    expect(text).toContain('"loss":null,');
    expect(text).toContain('"lr":null,');
    expect(readMetrics(path)).toEqual([{ ...step(1), loss: null, lr: null }]);
  });

  it("writes each line at once: a process that is killed loses none", () => {
    const metrics = openMetrics(path, START);
    metrics.append(step(1));
    expect(readMetrics(path)).toEqual([step(1)]);
    metrics.close();
    metrics.close();
  });

  it("starts anew where nothing was done", () => {
    write(RUN);
    expect(write([])).toBe("");
  });

  it.each(Array.from({ length: 13 }, (_, done) => done))(
    "goes on after step %i as if never stopped",
    (done) => {
      const whole = write(RUN);
      // Killed at the end, in the middle of a line, after a checkpoint at this step.
      appendFileSync(path, whole.slice(0, 30));
      const isDone = (line: Metrics) =>
        line.kind === "step" ? line.step <= done : 4 * line.epoch <= done;
      const from = { epoch: Math.floor(done / 4), step: done };
      expect(
        write(
          RUN.filter((line) => !isDone(line)),
          from,
        ),
      ).toBe(whole);
    },
  );

  it("drops the epoch that a checkpoint at its last step does not count", () => {
    write(RUN);
    const metrics = openMetrics(path, { epoch: 1, step: 8 });
    metrics.close();
    expect(readMetrics(path)).toEqual(RUN.slice(0, 9));
  });

  it("says which file it cannot write", () => {
    expect(() => openMetrics(join(path, "metrics.jsonl"), START)).toThrow(
      `${join(path, "metrics.jsonl")}: cannot write: the folder ${path} does not exist`,
    );
  });
});

describe("readMetrics", () => {
  it("takes a missing file for an empty one and creates none", () => {
    expect(readMetrics(path)).toEqual([]);
    expect(existsSync(path)).toBe(false);
  });

  it("leaves out a last line without its end, wherever it was cut", () => {
    const whole = write([step(1), step(2)]);
    const second = whole.indexOf("\n") + 1;
    for (let length = second; length < whole.length; length++) {
      writeFileSync(path, whole.slice(0, length));
      expect(readMetrics(path)).toEqual([step(1)]);
    }
  });

  it.each([
    ["cut off", '{"kind":"step","epo'],
    ["another kind", '{"kind":"batch","epoch":1}'],
    ["a field missing", '{"kind":"epoch","epoch":1}'],
    ["a text for a number", JSON.stringify({ ...step(1), loss: "7" })],
    ["a fraction of a step", JSON.stringify({ ...step(1), step: 1.5 })],
    ["no object", "null"],
    ["nothing", ""],
  ])("refuses a line in the middle with %s", (_what, line) => {
    const whole = write([step(1)]);
    writeFileSync(path, `${whole}${line}\n${whole}`);
    expect(() => readMetrics(path)).toThrow(
      `${path}: line 2 does not belong to a training run; move the file away to go on without it`,
    );
  });
});
