// Memory of tensors that is used again.

import { describe, expect, it } from "@jest/globals";

import { recycle, takeMemory } from "../../src/util/spare-memory.js";

/** An array in that memory. */
const array = ({ buffer, length }: Uint8Array<ArrayBuffer>) =>
  new Float32Array(buffer, 0, length / 4);

const MB = 1 << 20;

describe("spare memory", () => {
  it("is handed out again once it is given back, and not before", () => {
    const first = takeMemory(3 * MB);
    const second = takeMemory(3 * MB);
    expect(second.buffer).not.toBe(first.buffer);
    recycle(array(first));
    recycle(array(first)); // once is enough
    const third = takeMemory(3 * MB - 4);
    expect(third.buffer).toBe(first.buffer);
    expect([third.byteOffset, third.length]).toEqual([0, 3 * MB - 4]);
    expect(takeMemory(3 * MB).buffer).not.toBe(first.buffer);
  });

  it("goes to whom it fits best, and not to whom it is far too large for", () => {
    const [large, small] = [takeMemory(48 * MB), takeMemory(20 * MB)];
    recycle(array(large));
    recycle(array(small));
    expect(takeMemory(16 * MB).buffer).toBe(small.buffer);
    expect(takeMemory(8 * MB).buffer).not.toBe(large.buffer);
    expect(takeMemory(12 * MB).buffer).toBe(large.buffer);
  });

  it("is not taken from others, nor where it is small", () => {
    const stranger = new Float32Array(MB);
    recycle(stranger);
    expect(takeMemory(4 * MB).buffer).not.toBe(stranger.buffer);
    const small = takeMemory(64);
    recycle(array(small));
    expect(takeMemory(64).buffer).not.toBe(small.buffer);
  });

  it("is let go where there is much of it", () => {
    const many = Array.from({ length: 20 }, () => takeMemory(MB));
    for (const bytes of many) recycle(array(bytes));
    const again = many.map(() => takeMemory(MB));
    const kept = again.filter(({ buffer }) => many.some((one) => one.buffer === buffer));
    expect(kept).toHaveLength(8);
  });
});
