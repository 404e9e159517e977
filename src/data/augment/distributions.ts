/** Random numbers of the distributions that augmentations draw from, made of uniform ones. */
import type { Random } from "../types.js";

/** In [low, high). */
export function uniform(random: Random, low: number, high: number): number {
  return low + (high - low) * random();
}

/** A whole number in [0, count). */
export function below(random: Random, count: number): number {
  return Math.floor(count * random());
}

/** A standard normal number by Box and Muller's method: two uniform numbers each time, so that none is kept. */
export function normal(random: Random): number {
  const radius = Math.sqrt(-2 * Math.log(1 - random()));
  return radius * Math.cos(2 * Math.PI * random());
}

/** Beta(alpha, alpha): X / (X + Y) of two gamma variates, from their logarithms, which do not underflow. */
export function symmetricBeta(random: Random, alpha: number): number {
  return 1 / (1 + Math.exp(logGamma(random, alpha) - logGamma(random, alpha)));
}

/**
 * The logarithm of a Gamma(alpha, 1) variate. Marsaglia, Tsang: A Simple Method for Generating Gamma Variables (2000);
 * below 1, X(alpha) = X(alpha + 1) U^(1/alpha) (their section 6).
 */
function logGamma(random: Random, alpha: number): number {
  if (alpha < 1) return logGamma(random, alpha + 1) + Math.log(1 - random()) / alpha;
  const d = alpha - 1 / 3;
  const c = 1 / Math.sqrt(9 * d);
  for (;;) {
    const x = normal(random);
    const v = (1 + c * x) ** 3;
    if (v > 0 && Math.log(1 - random()) < 0.5 * x * x + d - d * v + d * Math.log(v)) {
      return Math.log(d * v);
    }
  }
}
