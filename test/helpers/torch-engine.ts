// The torch engine, where its addon is built; suites that need it are skipped aloud where it is not.

import { describe } from "@jest/globals";

import { torchEngine } from "../../src/engine/torch/engine.js";
import type { Device, Engine } from "../../src/engine/types.js";
import { RepkitError } from "../../src/errors.js";

/**
 * Undefined where there is no addon. With REPKIT_TEST_TORCH=1 that is an error, so that a run which
 * is meant to test the engine cannot pass without it.
 */
export function loadTorchEngine(): Engine | undefined {
  return attempt().engine;
}

/** The tests of `body` on the torch engine; without one, a skipped suite whose name says why. */
export function describeTorch(what: string, body: (engine: Engine) => void): void {
  const { engine, reason } = attempt();
  if (engine === undefined) {
    describe.skip(`${what}, skipped: ${reason}`, () => body(absentEngine));
  } else {
    describe(`${what}: ${engine.description}`, () => body(engine));
  }
}

/** The tests of `body` on the CPU and on the first CUDA device, where there is one; skipped aloud without. */
export function describeTorchDevices(
  what: string,
  body: (engine: Engine, device: Device) => void,
): void {
  describeTorch(what, (engine) => {
    describe("cpu", () => body(engine, "cpu"));
    const cuda = engine.devices.find((device) => device !== "cpu");
    if (cuda === undefined) {
      describe.skip("cuda, skipped: libtorch finds no CUDA device", () => body(engine, "cuda"));
    } else {
      describe(cuda, () => body(engine, cuda));
    }
  });
}

function attempt(): { engine?: Engine; reason: string } {
  try {
    return { engine: torchEngine(), reason: "" };
  } catch (error) {
    const isAbsent = error instanceof RepkitError && error.kind === "environment";
    if (!isAbsent || process.env["REPKIT_TEST_TORCH"] === "1") throw error;
    return { reason: error.message };
  }
}

const absentEngine: Engine = {
  name: "torch",
  description: "not built",
  devices: [],
  load: () => Promise.reject(new Error("a skipped test ran")),
};
