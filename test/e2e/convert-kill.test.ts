// A conversion that is stopped at any moment leaves what was there before, or the whole new file.

import {
  copyFileSync,
  existsSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { afterAll, afterEach, beforeAll, describe, expect, it } from "@jest/globals";

import { random } from "../checkpoint/support.js";
import { repkit } from "../helpers/cli.js";
import { deployedState, expectState, writeFilled } from "../helpers/deployed.js";
import { repkitUntil, type Moment } from "../helpers/kill.js";

const KILLS = 12;
const TEMPORARY = /^\.repkit-[0-9a-f]{16}\.tmp$/;

const folder = mkdtempSync(join(tmpdir(), "repkit-kill-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const input = join(folder, "trained.ckpt");
const output = join(folder, "deployed.pth");
/** What a conversion that nobody stops makes of the input. */
const whole = join(folder, "whole.pth");
let duration = 0;

beforeAll(async () => {
  const { model, state } = writeFilled(input, { arch: "RepVGG-A0", block: "base", numClasses: 10 });
  const { code, duration: first } = await repkitUntil("never", "SIGKILL", "convert", input, whole);
  expect(code).toBe(0);
  expectState(whole, deployedState(model, state));
  const { duration: second } = await repkitUntil("never", "SIGKILL", "convert", input, whole);
  duration = Math.min(first, second);
});

const temporaries = () => readdirSync(folder).filter((name) => name.endsWith(".tmp"));

afterEach(() => {
  for (const name of temporaries()) rmSync(join(folder, name));
  rmSync(output, { force: true });
});

const isSame = (a: string, b: string) => readFileSync(a).equals(readFileSync(b));

/** Expects the folder to hold nothing but what it may. */
function expectWholeOr(previous: string | undefined): "previous" | "new" {
  const expected = ["trained.ckpt", "whole.pth"];
  const found = readdirSync(folder).filter((name) => !TEMPORARY.test(name));
  const isThere = existsSync(output);
  expect(found.sort()).toEqual([...(isThere ? ["deployed.pth"] : []), ...expected]);
  if (isThere && isSame(output, whole)) return "new";
  if (previous === undefined) {
    expect(isThere).toBe(false);
  } else {
    expect(isSame(output, previous)).toBe(true);
  }
  return "previous";
}

/** Moments all over a conversion, the same in every run of the tests but for its duration. */
function moments(): { after: number }[] {
  const next = random(20_200_923);
  return Array.from({ length: KILLS }, (_, i) => ({
    after: ((i + next(1000) / 1000) / KILLS) * 1.1 * duration,
  }));
}

/** The moment that random ones miss: the last bytes are being written, and the file put in its place. */
const writing = (): Moment => {
  return { file: TEMPORARY, in: folder, bytes: 0.95 * statSync(whole).size };
};

describe("SIGKILL", () => {
  it(`${KILLS} moments, no file there before: none or the whole one`, async () => {
    const left: string[] = [];
    for (const moment of moments()) {
      await repkitUntil(moment, "SIGKILL", "convert", input, output, "--quiet");
      left.push(expectWholeOr(undefined));
      rmSync(output, { force: true });
    }
    // The first moments are certain to be before the end.
    expect(left.slice(0, 3)).toEqual(["previous", "previous", "previous"]);
    // What was left behind is in nobody's way.
    expect(repkit("convert", input, output).code).toBe(0);
    expect(expectWholeOr(undefined)).toBe("new");
  }, 60_000);

  it("while the file is written: the temporary file is all that is left", async () => {
    let caught = 0;
    for (let attempt = 0; attempt < 10 && caught === 0; attempt++) {
      const { signal } = await repkitUntil(writing(), "SIGKILL", "convert", input, output);
      const kept = expectWholeOr(undefined);
      if (signal === "SIGKILL" && kept === "previous") {
        caught++;
        expect(temporaries()).toEqual([expect.stringMatching(TEMPORARY)]);
      }
      for (const name of temporaries()) rmSync(join(folder, name));
      rmSync(output, { force: true });
    }
    expect(caught).toBe(1);
  }, 30_000);

  it("while the input itself is replaced: it is the old one or the new one", async () => {
    for (let attempt = 0; attempt < 3; attempt++) {
      copyFileSync(input, output);
      await repkitUntil(writing(), "SIGKILL", "convert", output, output);
      expectWholeOr(input);
    }
    // And goes on from there.
    copyFileSync(input, output);
    expect(repkit("convert", output, output).code).toBe(0);
    expect(isSame(output, whole)).toBe(true);
  }, 30_000);
});

describe.each([
  ["SIGINT", 130],
  ["SIGTERM", 143],
] as const)("%s", (signal, code) => {
  it(`in the middle: exit code ${code}, no output, no temporary file, no word`, async () => {
    let stopped = 0;
    for (const share of [0.75, 0.6, 0.5, 0.4, 0.65]) {
      if (stopped > 0) break;
      const moment = { after: share * duration };
      const ending = await repkitUntil(moment, signal, "convert", input, output);
      // Too late, or before the program itself has begun: another time.
      if (ending.code !== 0 && ending.signal === null) {
        stopped++;
        expect(ending).toMatchObject({ code, stdout: "", stderr: "" });
        expect(expectWholeOr(undefined)).toBe("previous");
      }
      expect(temporaries()).toEqual([]);
      rmSync(output, { force: true });
    }
    expect(stopped).toBe(1);
  });

  it("while the file is written: the old one stays, and no temporary file is left", async () => {
    copyFileSync(input, output);
    const ending = await repkitUntil(writing(), signal, "convert", input, output);
    expect([code, 0]).toContain(ending.code);
    expect(expectWholeOr(input)).toBe(ending.code === 0 ? "new" : "previous");
    expect(temporaries()).toEqual([]);
  });
});
