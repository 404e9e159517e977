/**
 * Reproducible random numbers: one independent stream per (seed, name), so that a tensor's values
 * depend on neither the order nor the number of the others.
 */

const { imul } = Math;
/** Of 32 random bits to [0, 1). */
const UNIT = 2 ** -32;

/** Numbers uniform in [0, 1) with 32 random bits; xoshiro128** (Blackman and Vigna, 2018). */
export function randomStream(seed: number, name: string): () => number {
  // splitmix32 spreads the 32-bit key over the 128-bit state, as the generator's authors advise.
  let key = (fnv1a32(name) ^ imul(seed >>> 0, 0x9e3779b1)) >>> 0;
  const splitmix = () => {
    key = (key + 0x9e3779b9) >>> 0;
    let z = key;
    z = imul(z ^ (z >>> 16), 0x21f0aaad);
    z = imul(z ^ (z >>> 15), 0x735a2d97);
    return (z ^ (z >>> 15)) >>> 0;
  };
  let a = splitmix();
  let b = splitmix();
  let c = splitmix();
  let d = splitmix();
  return () => {
    const product = imul(b, 5);
    const result = imul((product << 7) | (product >>> 25), 9) >>> 0;
    const shifted = b << 9;
    c ^= a;
    d ^= b;
    b ^= c;
    a ^= d;
    c ^= shifted;
    d = (d << 11) | (d >>> 21);
    return result * UNIT;
  };
}

function fnv1a32(text: string): number {
  let hash = 0x811c9dc5;
  for (const byte of new TextEncoder().encode(text)) hash = imul(hash ^ byte, 0x01000193);
  return hash >>> 0;
}
