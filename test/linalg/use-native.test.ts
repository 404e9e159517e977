// Folding by either kind of sums: the same weights.

import { expect, it } from "@jest/globals";

import { linalgAddon } from "../../src/linalg/addon.js";
import { takeSums } from "../../src/linalg/index.js";
import { fold } from "../../src/reparam/index.js";
import { filledModel } from "../helpers/deployed.js";
import { describeLinalg } from "../helpers/linalg-addon.js";

const { abs, max } = Math;

describeLinalg("folding", () => {
  it("native sums make the weights of the portable ones", () => {
    const { model, state } = filledModel({ arch: "MobileNet", block: "DBB" });
    takeSums(undefined);
    const portable = fold(model.graph, state).state;
    takeSums(linalgAddon());
    const native = fold(model.graph, state).state;
    takeSums(undefined);
    expect([...native.keys()]).toEqual([...portable.keys()]);
    const wrong: string[] = [];
    for (const [name, { data }] of portable) {
      if (!(data instanceof Float32Array)) continue;
      const own = native.get(name)!.data as Float32Array;
      expect(own).toHaveLength(data.length);
      const largest = data.reduce((most, value) => max(most, abs(value)), 0);
      // Sums in another order round to the neighbour now and then; thousands of terms that cancel
      // leave 2^-40 of the largest at most.
      const isClose = data.every(
        (value, i) => abs(own[i]! - value) <= 2 ** -23 * abs(value) + 2 ** -40 * largest,
      );
      if (!isClose) wrong.push(name);
    }
    expect(wrong).toEqual([]);
  });
});
