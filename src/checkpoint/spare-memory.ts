/**
 * Memory of large tensors that are done with, kept for the next ones to be read: fresh memory, which
 * the system clears page by page, costs more than reading a file into it, and dropping it makes
 * work for the garbage collector.
 */
import type { Tensor } from "../graph/tensor.js";

const LEAST_BYTES = 1 << 16;
const UNIT = 1 << 16; // sizes are rounded up to it, so that they meet again
const MOST_KEPT = 8;

const spare: ArrayBuffer[] = [];
/** Only memory from here is taken back: nobody else may hold on to it. */
const own = new WeakSet<ArrayBufferLike>();

/** `count` bytes from offset 0 of memory of their own, not cleared. */
export function takeMemory(count: number): Uint8Array<ArrayBuffer> {
  // A buffer of its own, never a piece of Node's shared pool: it becomes the tensor's memory.
  if (count < LEAST_BYTES) return Buffer.allocUnsafeSlow(count);
  let best = -1;
  for (const [i, { byteLength }] of spare.entries()) {
    if (byteLength >= count && !(byteLength >= (spare[best]?.byteLength ?? Infinity))) best = i;
  }
  // One that is far too large is left to those who need it.
  if (best !== -1 && spare[best]!.byteLength <= 4 * count) {
    return new Uint8Array(spare.splice(best, 1)[0]!, 0, count);
  }
  const { buffer } = Buffer.allocUnsafeSlow(Math.ceil(count / UNIT) * UNIT);
  own.add(buffer);
  return new Uint8Array(buffer, 0, count);
}

/**
 * Gives back the memory of a tensor that was read from a file, if it is large. The caller and all whom it
 * handed the tensor to are done with it: what is read next overwrites it.
 */
export function recycle({ data }: Tensor): void {
  const { buffer } = data;
  if (!own.has(buffer) || spare.includes(buffer as ArrayBuffer)) return;
  spare.push(buffer as ArrayBuffer);
  if (spare.length > MOST_KEPT) spare.shift();
}
