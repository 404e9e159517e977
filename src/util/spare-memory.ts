/**
 * Memory of large arrays that are done with, kept for the next ones: fresh memory, which the system
 * clears page by page, costs more than reading a file into it or summing there, and dropping it
 * makes work for the garbage collector.
 */

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

/** Lets go of all that is spare: after a job, somebody else may need it. */
export function dropSpareMemory(): void {
  spare.length = 0;
}

/**
 * Gives back memory that is from here, if it is large. The caller and all whom it handed the array to are
 * done with it: what comes next overwrites it.
 */
export function recycle({ buffer }: ArrayBufferView): void {
  if (!own.has(buffer) || spare.includes(buffer as ArrayBuffer)) return;
  spare.push(buffer as ArrayBuffer);
  if (spare.length > MOST_KEPT) spare.shift();
}
