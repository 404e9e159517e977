import { expect, test } from "@jest/globals";

import { spareSharedCores } from "../../../src/engine/torch/addon.js";

const after = (env: NodeJS.ProcessEnv, load: number, cores: number) => {
  const isSaid = spareSharedCores(env, load, cores);
  return { isSaid, spins: env["GOMP_SPINCOUNT"] };
};

test("OpenMP's threads spin on a machine of their own", () => {
  expect(after({}, 2, 4)).toEqual({ isSaid: false, spins: undefined });
});

test("and sleep soon where others keep more than half of the cores busy", () => {
  expect(after({}, 2.1, 4)).toEqual({ isSaid: true, spins: "10000" });
});

test("or where REPKIT_SHARED_CPU says so", () => {
  expect(after({ REPKIT_SHARED_CPU: "1" }, 0, 4)).toEqual({ isSaid: true, spins: "10000" });
  expect(after({ REPKIT_SHARED_CPU: "" }, 0, 4).isSaid).toBe(false);
  expect(after({ REPKIT_SHARED_CPU: "0" }, 9, 4).isSaid).toBe(false);
});

test("what the user has set stays", () => {
  expect(after({ GOMP_SPINCOUNT: "7" }, 9, 4)).toEqual({ isSaid: false, spins: "7" });
  expect(after({ OMP_WAIT_POLICY: "active" }, 9, 4)).toEqual({ isSaid: false, spins: undefined });
});
