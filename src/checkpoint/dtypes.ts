/** Stored element types: their sizes, and the way between their bytes and tensors in memory. */
import { endianness } from "node:os";
import { types } from "node:util";

import { RepkitError } from "../errors.js";
import type { Tensor, TensorData } from "../graph/tensor.js";
import { recycle, takeMemory } from "../util/spare-memory.js";
import type { StoredDType } from "./container.js";

/** Bytes per element. */
export const DTYPE_BYTES: Readonly<Record<StoredDType, number>> = {
  F64: 8,
  F32: 4,
  F16: 2,
  BF16: 2,
  I64: 8,
  I32: 4,
  I16: 2,
  I8: 1,
  U8: 1,
  BOOL: 1,
};

/** Types that can be written; the rest is only read. */
export type WritableDType = "F64" | "F32" | "I64";

export function isStoredDType(name: string): name is StoredDType {
  return Object.hasOwn(DTYPE_BYTES, name);
}

/** The type a tensor has on disk unless another one is asked for: nothing is lost. */
export function dtypeOf(data: TensorData): WritableDType {
  if (types.isFloat32Array(data)) return "F32";
  if (types.isFloat64Array(data)) return "F64";
  return "I64";
}

/**
 * Little-endian elements as tensor data. `bytes` must own its memory from offset 0 (fresh from
 * `allocateElements`): float32, float64 and int64 become views of it, not copies.
 */
export function decodeElements(dtype: StoredDType, bytes: Uint8Array<ArrayBuffer>): TensorData {
  requireLittleEndian();
  const { buffer } = bytes;
  const count = bytes.byteLength / DTYPE_BYTES[dtype];
  switch (dtype) {
    case "F64":
      return new Float64Array(buffer, 0, count);
    case "F32":
      return new Float32Array(buffer, 0, count);
    case "I64":
      return new BigInt64Array(buffer, 0, count);
    case "F16":
      return widen(bytes, count, float16Bits);
    case "BF16":
      return widen(bytes, count, (half) => half << 16);
    case "I32":
      return BigInt64Array.from(new Int32Array(buffer, 0, count), BigInt);
    case "I16":
      return BigInt64Array.from(new Int16Array(buffer, 0, count), BigInt);
    case "I8":
      return BigInt64Array.from(new Int8Array(buffer, 0, count), BigInt);
    case "U8":
      return BigInt64Array.from(bytes, BigInt);
    case "BOOL":
      return BigInt64Array.from(bytes, (byte) => (byte === 0 ? 0n : 1n));
  }
}

/** Memory for `count` elements, not cleared: the caller fills all of it. */
export function allocateElements(dtype: StoredDType, count: number): Uint8Array<ArrayBuffer> {
  return takeMemory(count * DTYPE_BYTES[dtype]);
}

/**
 * The tensor's elements as little-endian bytes: a view where it has that type already, else a
 * converted copy (float64 → float32 rounds once).
 * @throws RepkitError "internal" for integers asked for as floats or the reverse
 */
export function encodeElements(dtype: WritableDType, { data }: Tensor): Uint8Array {
  requireLittleEndian();
  const own = dtypeOf(data);
  if (own === dtype) return asBytes(data);
  if (types.isBigInt64Array(data) || dtype === "I64") {
    throw new RepkitError("internal", `a tensor of type ${own} cannot be written as ${dtype}`);
  }
  return asBytes(dtype === "F32" ? new Float32Array(data) : new Float64Array(data));
}

function asBytes(data: TensorData): Uint8Array {
  return new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
}

/** Both containers are little-endian, and typed arrays have the machine's order. */
function requireLittleEndian(): void {
  if (endianness() === "LE") return;
  throw new RepkitError("environment", "weights files can be read on little-endian machines only");
}

/** Of each half the float32 bits; the memory of the halves is given back. */
function widen(
  bytes: Uint8Array<ArrayBuffer>,
  count: number,
  bitsOf: (half: number) => number,
): Float32Array<ArrayBuffer> {
  const halves = new Uint16Array(bytes.buffer, 0, count);
  const { buffer } = takeMemory(4 * count);
  const bits = new Uint32Array(buffer, 0, count);
  for (let i = 0; i < count; i++) bits[i] = bitsOf(halves[i]!);
  recycle(bytes);
  return new Float32Array(buffer, 0, count);
}

let float16Known: Uint32Array | undefined;

function float16Bits(half: number): number {
  float16Known ??= float16Table();
  return float16Known[half]!;
}

/** Float32 bit patterns of all 65,536 halves; NaNs keep their payload. */
function float16Table(): Uint32Array {
  const table = new Uint32Array(1 << 16);
  for (let half = 0; half < table.length; half++) {
    const sign = (half & 0x8000) << 16;
    const exponent = (half >> 10) & 0x1f;
    const fraction = half & 0x3ff;
    let magnitude: number;
    if (exponent === 0x1f) {
      magnitude = 0x7f800000 | (fraction << 13);
    } else if (exponent > 0) {
      magnitude = ((exponent + 112) << 23) | (fraction << 13); // bias 15 → 127
    } else if (fraction === 0) {
      magnitude = 0;
    } else {
      // Subnormal: fraction * 2^-24 with its leading one at bit 31 - clz32(fraction).
      const leading = 31 - Math.clz32(fraction);
      magnitude = ((leading + 103) << 23) | ((fraction << (23 - leading)) & 0x7fffff);
    }
    table[half] = sign | magnitude;
  }
  return table;
}
