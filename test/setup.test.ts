import { runInNewContext } from "node:vm";

import { describe, expect, test } from "@jest/globals";

import { takeConsoleCalls } from "./setup.js";

const tensor = (shape: number[], values: number[]) => ({ shape, data: Float32Array.from(values) });

describe("toBeCloseToTensor", () => {
  const expected = tensor([2, 2], [1, -2, 3, 4]);

  test("accepts equal tensors without a tolerance", () => {
    expect(tensor([2, 2], [1, -2, 3, 4])).toBeCloseToTensor(expected);
  });

  test("is exact without a tolerance", () => {
    expect(tensor([2, 2], [1, -2, 3, 4.0001])).not.toBeCloseToTensor(expected);
  });

  test.each([
    { relative: 0.125 }, // of the largest expected element, 4
    { absolute: 0.5 },
    { relative: 0.0625, absolute: 0.25 },
  ])("accepts a difference equal to the tolerance and no more: %j", (tolerance) => {
    expect(tensor([2, 2], [1.5, -2, 3, 4])).toBeCloseToTensor(expected, tolerance);
    expect(tensor([2, 2], [1.75, -2, 3, 4])).not.toBeCloseToTensor(expected, tolerance);
  });

  test("reports the largest difference, its index, the tolerance and the share used", () => {
    const received = tensor([2, 2], [1.25, -2, 2, 4]);
    const check = () => {
      expect(received).toBeCloseToTensor(expected, { relative: 0.125 });
    };
    expect(check).toThrow("not close: largest difference 1 at index 2 = [1,0]");
    expect(check).toThrow("received 2, expected 3");
    expect(check).toThrow("tolerance 0.5 (relative 0.125, absolute 0), 200% of it used");
  });

  test("the message of a failed negation also says how close", () => {
    expect(() => {
      expect(tensor([1], [5])).not.toBeCloseToTensor(tensor([1], [4]), { absolute: 4 });
    }).toThrow("are close: largest difference 1 at index 0: received 5, expected 4");
  });

  test("tells shapes apart", () => {
    expect(() => {
      expect(tensor([4], [1, -2, 3, 4])).toBeCloseToTensor(expected, { absolute: 10 });
    }).toThrow("shape [4] differs from the expected [2,2]");
  });

  test("compares element types of every kind, 64-bit integers too", () => {
    const shape = [2];
    expect({ shape, data: BigInt64Array.of(1n, -2n) }).toBeCloseToTensor({
      shape,
      data: Float64Array.of(1, -2),
    });
    expect({ shape, data: Uint8Array.of(1, 3) }).not.toBeCloseToTensor({
      shape,
      data: Int32Array.of(1, 2),
    });
  });

  test("accepts typed arrays of another realm", () => {
    const foreign = runInNewContext("({ shape: [2], data: Float32Array.of(1, 2) })") as {
      shape: number[];
      data: Float32Array;
    };
    expect(foreign.data instanceof Float32Array).toBe(false);
    expect(foreign).toBeCloseToTensor(tensor([2], [1, 2]));
  });

  test("NaN and the infinities match only themselves", () => {
    const odd = tensor([3], [NaN, Infinity, 1]);
    expect(odd).toBeCloseToTensor(odd, { relative: 1e-6 });
    expect(odd).not.toBeCloseToTensor(tensor([3], [0, Infinity, 1]), { absolute: 10 });
    expect(odd).not.toBeCloseToTensor(tensor([3], [NaN, -Infinity, 1]), { absolute: 10 });
    expect(odd).not.toBeCloseToTensor(tensor([3], [NaN, 1e30, 1]), { relative: 10 });
  });

  test("an infinite element does not widen a relative tolerance", () => {
    const received = tensor([2], [Infinity, 2]);
    expect(received).not.toBeCloseToTensor(tensor([2], [Infinity, 1]), { relative: 0.5 });
  });

  test("empty tensors are equal when their shapes are", () => {
    expect(tensor([0, 3], [])).toBeCloseToTensor(tensor([0, 3], []));
    expect(tensor([0, 3], [])).not.toBeCloseToTensor(tensor([0], []));
  });

  test.each<[string, unknown]>([
    ["undefined", undefined],
    ["a plain array as data", { shape: [1], data: [1] }],
    ["a DataView", { shape: [4], data: new DataView(new ArrayBuffer(4)) }],
    ["a shape that asks for more elements", { shape: [3], data: Float32Array.of(1, 2) }],
  ])("throws on %s, negated or not", (_name, value) => {
    const reference = tensor([1], [1]);
    expect(() => {
      expect(value).toBeCloseToTensor(reference);
    }).toThrow("received");
    expect(() => {
      expect(value).not.toBeCloseToTensor(reference);
    }).toThrow("received");
  });

  test("throws on a tolerance that would accept everything", () => {
    expect(() => {
      expect(expected).toBeCloseToTensor(expected, { relative: Infinity });
    }).toThrow("Expected a finite number >= 0 for relative but received Infinity");
    expect(() => {
      expect(expected).toBeCloseToTensor(expected, { absolute: NaN });
    }).toThrow("for absolute but received NaN");
  });
});

test("console output of a test is recorded, to be failed on", () => {
  console.log("stray", 1);
  console.warn("too");
  expect(takeConsoleCalls()).toEqual(["console.log(stray, 1)", "console.warn(too)"]);
});
