import { describe, expect, test } from "@jest/globals";

import {
  mixedTargets,
  mixPair,
  partnerOf,
  planMixing,
  type MixPlan,
} from "../../src/data/mixing.js";
import {
  collect,
  deviation,
  KS_LIMIT,
  ksDistance,
  mean,
  noise,
  scripted,
  seeded,
} from "./augment/samples.js";

function plans(options: Parameters<typeof planMixing>[1], size = 32, count = 3000) {
  const random = seeded(21);
  return Array.from({ length: count }, () => planMixing(random, options, size));
}

const kinds = (drawn: readonly (MixPlan | undefined)[], kind: MixPlan["kind"] | undefined) =>
  drawn.filter((plan) => plan?.kind === kind).length / drawn.length;

describe("planMixing", () => {
  test("mixup's share is Beta(alpha, alpha)", () => {
    const shares = plans({ mixup: 0.2, cutmix: 0 }).map((plan) => plan!.share);
    expect(mean(shares)).toBeCloseTo(0.5, 1);
    expect(Math.abs(deviation(shares) - Math.sqrt(1 / (4 * 1.4)))).toBeLessThan(0.01);
    const even = plans({ mixup: 1, cutmix: 0 }).map((plan) => plan!.share);
    expect(ksDistance(even, (share) => share)).toBeLessThan(KS_LIMIT);
    expect(kinds(plans({ mixup: 0.2, cutmix: 0 }), "mixup")).toBe(1);
  });

  test("batches are mixed with the probability, and by cutmix with the switch's", () => {
    const half = plans({ mixup: 0.8, cutmix: 1, probability: 0.7, switchProbability: 0.25 });
    expect(Math.abs(kinds(half, undefined) - 0.3)).toBeLessThan(0.03);
    expect(Math.abs(kinds(half, "mixup") - 0.7 * 0.75)).toBeLessThan(0.03);
    expect(Math.abs(kinds(half, "cutmix") - 0.7 * 0.25)).toBeLessThan(0.03);
    const usual = plans({ mixup: 0.8, cutmix: 1 });
    expect(kinds(usual, undefined)).toBe(0);
    expect(Math.abs(kinds(usual, "cutmix") - 0.5)).toBeLessThan(0.03);
    expect(kinds(plans({ mixup: 0, cutmix: 1 }), "cutmix")).toBe(1);
    expect(kinds(plans({ mixup: 1, cutmix: 1, probability: 0 }), undefined)).toBe(1);
  });

  test("nothing is planned, and nothing drawn, where both are off", () => {
    expect(planMixing(scripted(), { mixup: 0, cutmix: 0 }, 32)).toBeUndefined();
  });

  test("cutmix's box lies in the image, and the share is what it leaves", () => {
    let cut = 0;
    for (const plan of plans({ mixup: 0, cutmix: 1 }, 33)) {
      if (plan?.kind !== "cutmix") throw new Error("expected cutmix");
      const { left, top, width, height } = plan.box;
      expect(Math.min(left, top, width, height)).toBeGreaterThanOrEqual(0);
      expect(Math.max(left + width, top + height)).toBeLessThanOrEqual(33);
      expect(plan.share).toBeCloseTo(1 - (width * height) / 33 ** 2, 12);
      expect(plan.size).toBe(33);
      if (width !== height) cut++;
    }
    expect(cut).toBeGreaterThan(500);
  });

  test("cutmix's box is timm's rand_bbox", () => {
    // Beta(1, 1) is drawn by two gamma variates of alpha 1; their numbers are asked of the same seed.
    for (let seed = 0; seed < 50; seed++) {
      const random = seeded(seed);
      const drawn: number[] = [];
      const plan = planMixing(
        () => {
          drawn.push(random());
          return drawn.at(-1)!;
        },
        { mixup: 0, cutmix: 1 },
        40,
      );
      const replay = [...drawn];
      const mixup = planMixing(() => replay.shift()!, { mixup: 1, cutmix: 0 }, 40);
      const half = Math.floor(Math.floor(40 * Math.sqrt(1 - mixup!.share)) / 2);
      const [y, x] = drawn.slice(-2).map((value) => Math.floor(40 * value)) as [number, number];
      const clip = (value: number) => Math.min(40, Math.max(0, value));
      expect(plan).toMatchObject({
        box: {
          left: clip(x - half),
          top: clip(y - half),
          width: clip(x + half) - clip(x - half),
          height: clip(y + half) - clip(y - half),
        },
      });
    }
  });

  test("alphas that are no numbers are refused", () => {
    expect(() => planMixing(seeded(1), { mixup: -1, cutmix: 0 }, 8)).toThrow(
      "mixup: expected a number of at least 0, received -1",
    );
    expect(() => planMixing(seeded(1), { mixup: 0, cutmix: NaN }, 8)).toThrow("cutmix: expected");
  });
});

describe("mixPair", () => {
  test("mixup weighs both images in float32 and rounds half to even, as numpy.rint", () => {
    const [a, b] = [noise(16, 16, 1).data, noise(16, 16, 2).data];
    for (const share of [0, 0.25, 0.3, 0.5, 0.8371, 1]) {
      const [mixedA, mixedB] = [a.slice(), b.slice()];
      mixPair(mixedA, mixedB, { kind: "mixup", share });
      const { fround } = Math;
      const blend = (x: number, y: number) => {
        const sum = fround(fround(x * fround(share)) + fround(y * fround(1 - share)));
        const low = Math.floor(sum);
        const tie = sum - low === 0.5;
        return tie ? low + (low % 2) : Math.round(sum);
      };
      expect([...mixedA]).toEqual([...a].map((x, index) => blend(x, b[index]!)));
      expect([...mixedB]).toEqual([...b].map((x, index) => blend(x, a[index]!)));
    }
    const [odd, even] = [Uint8Array.of(1, 3, 255), Uint8Array.of(2, 4, 254)];
    mixPair(odd, even, { kind: "mixup", share: 0.5 });
    expect([[...odd], [...even]]).toEqual([
      [2, 4, 254],
      [2, 4, 254],
    ]);
  });

  test("it works within a batch's buffer", () => {
    const batch = noise(4, 8).data;
    const before = batch.slice();
    mixPair(batch.subarray(0, 48), batch.subarray(48, 96), { kind: "mixup", share: 0 });
    expect([...batch]).toEqual([...before.slice(48), ...before.slice(0, 48)]);
  });

  test("cutmix swaps the box", () => {
    const [a, b] = [new Uint8Array(48).fill(1), new Uint8Array(48).fill(2)];
    const box = { left: 1, top: 2, width: 3, height: 1 };
    mixPair(a, b, { kind: "cutmix", share: 1 - 3 / 16, box, size: 4 });
    const swapped = Array.from({ length: 48 }, (_, index) => index >= 27 && index < 36);
    expect([...a]).toEqual(swapped.map((inside) => (inside ? 2 : 1)));
    expect([...b]).toEqual(swapped.map((inside) => (inside ? 1 : 2)));
  });

  test("an image mixed with itself stays as it is", () => {
    const image = noise(8, 8);
    const data = image.data.slice();
    const box = { left: 2, top: 1, width: 5, height: 6 };
    for (const share of collect(20, seeded(3))) {
      mixPair(data, data, { kind: "mixup", share });
      mixPair(data, data, { kind: "cutmix", share, box, size: 8 });
    }
    expect(data).toEqual(image.data);
  });
});

test("image i goes with image n - 1 - i", () => {
  const partners = Array.from({ length: 5 }, (_, index) => partnerOf(index, 5));
  expect(partners).toEqual([4, 3, 2, 1, 0]);
});

describe("mixedTargets", () => {
  test("share for the own class, the rest for the other's", () => {
    const targets = mixedTargets(Int32Array.of(0, 2, 1), Int32Array.of(1, 2, 0), 0.75, 3);
    expect([...targets]).toEqual([0.75, 0.25, 0, 0, 0, 1, 0.25, 0.75, 0]);
  });

  test("labels that are no class are refused", () => {
    const labels = Int32Array.of(3);
    expect(() => mixedTargets(labels, labels, 0.5, 3)).toThrow("labels below 3, received 3");
    expect(() => mixedTargets(Int32Array.of(-1), labels, 0.5, 4)).toThrow("received -1");
    expect(() => mixedTargets(Int32Array.of(0, 1), Int32Array.of(0), 0.5, 3)).toThrow("undefined");
  });
});
