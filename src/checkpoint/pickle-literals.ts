/**
 * The pickle opcodes that stand for one number, string or bytes object.
 * Reference: CPython's Lib/pickletools.py, which documents every opcode of protocols 0 to 5.
 */
import { isUtf8 } from "node:buffer";

import { readFailure } from "./failure.js";
import type { ByteCursor } from "./pickle-cursor.js";
import type { PickleScalar } from "./pickle-values.js";

const MAX_STRING = 1 << 26; // bytes; far beyond any name or log in a checkpoint
const MAX_INTEGER = 1024; // bytes or digits

/** The value that `opcode` stands for, or undefined where it is not a literal. */
export function readLiteral(opcode: number, cursor: ByteCursor): PickleScalar | undefined {
  switch (String.fromCharCode(opcode)) {
    case "N":
      return null;
    case "\x88":
      return true;
    case "\x89":
      return false;
    case "I": {
      const text = cursor.line(MAX_INTEGER).toString("latin1");
      if (text === "00" || text === "01") return text === "01";
      return parseInteger(text, cursor);
    }
    case "L":
      return parseInteger(cursor.line(MAX_INTEGER).toString("latin1").replace(/L$/, ""), cursor);
    case "J":
      return cursor.take(4).readInt32LE();
    case "K":
      return cursor.byte();
    case "M":
      return cursor.take(2).readUInt16LE();
    case "\x8a":
      return readLong(cursor, cursor.byte());
    case "\x8b":
      return readLong(cursor, cursor.take(4).readUInt32LE());
    case "F":
      return parseFloatText(cursor.line(MAX_INTEGER).toString("latin1"), cursor);
    case "G":
      return cursor.take(8).readDoubleBE();
    case "S":
      return parseQuoted(cursor.line(MAX_STRING).toString("latin1"), cursor);
    case "V":
      return parseRawUnicode(cursor.line(MAX_STRING).toString("latin1"), cursor);
    case "T":
      return readByteString(cursor, cursor.take(4).readUInt32LE());
    case "U":
      return readByteString(cursor, cursor.byte());
    case "X":
      return readText(cursor, cursor.take(4).readUInt32LE());
    case "\x8c":
      return readText(cursor, cursor.byte());
    case "\x8d":
      return readText(cursor, Number(cursor.take(8).readBigUInt64LE()));
    case "B":
      return readBytes(cursor, cursor.take(4).readUInt32LE());
    case "C":
      return readBytes(cursor, cursor.byte());
    case "\x8e":
    case "\x96":
      return readBytes(cursor, Number(cursor.take(8).readBigUInt64LE()));
    default:
      return undefined;
  }
}

/** A line of ASCII digits as a memo index. */
export function readDecimalIndex(cursor: ByteCursor): number {
  const value = parseInteger(cursor.line(MAX_INTEGER).toString("latin1"), cursor);
  if (typeof value === "bigint" || value < 0) throw corrupt(cursor, "a memo index is out of range");
  return value;
}

/** A line of text: half of a global's name, or a persistent id. */
export function readTextLine(cursor: ByteCursor): string {
  return decodeText(cursor, cursor.line(MAX_INTEGER));
}

function readText(cursor: ByteCursor, length: number): string {
  return decodeText(cursor, takeString(cursor, length));
}

/** A Python 2 str: text where it can be, else one character per byte. */
function readByteString(cursor: ByteCursor, length: number): string {
  const bytes = takeString(cursor, length);
  return bytes.toString(isUtf8(bytes) ? "utf8" : "latin1");
}

function readBytes(cursor: ByteCursor, length: number): Uint8Array {
  return new Uint8Array(takeString(cursor, length));
}

function takeString(cursor: ByteCursor, length: number): Buffer {
  if (length > MAX_STRING && length <= cursor.remaining) {
    throw corrupt(cursor, `a string of ${length} bytes exceeds ${MAX_STRING}`);
  }
  return cursor.take(length);
}

function decodeText(cursor: ByteCursor, bytes: Buffer): string {
  if (!isUtf8(bytes)) throw corrupt(cursor, "a string is not UTF-8");
  return bytes.toString("utf8");
}

/** Little-endian two's complement. */
function readLong(cursor: ByteCursor, length: number): number | bigint {
  if (length > MAX_INTEGER && length <= cursor.remaining) {
    throw corrupt(cursor, `an integer of ${length} bytes exceeds ${MAX_INTEGER}`);
  }
  const bytes = cursor.take(length);
  if (length === 0) return 0;
  const magnitude = BigInt(`0x${Buffer.from(bytes).reverse().toString("hex")}`);
  return normalise(BigInt.asIntN(8 * length, magnitude));
}

function parseInteger(text: string, cursor: ByteCursor): number | bigint {
  if (!/^-?\d+$/.test(text)) throw corrupt(cursor, `"${text}" is not an integer`);
  return normalise(BigInt(text));
}

function normalise(value: bigint): number | bigint {
  const number = Number(value);
  return Number.isSafeInteger(number) ? number : value;
}

const SPECIAL_FLOATS: ReadonlyMap<string, number> = new Map([
  ["nan", NaN],
  ["inf", Infinity],
  ["-inf", -Infinity],
]);

function parseFloatText(text: string, cursor: ByteCursor): number {
  const special = SPECIAL_FLOATS.get(text);
  if (special !== undefined) return special;
  if (!/^[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?$/i.test(text)) {
    throw corrupt(cursor, `"${text}" is not a number`);
  }
  return Number(text);
}

const ESCAPES: ReadonlyMap<string, string> = new Map([
  ["n", "\n"],
  ["r", "\r"],
  ["t", "\t"],
]);

/** A Python 2 string as its repr: 'it\'s', "\x00". */
function parseQuoted(text: string, cursor: ByteCursor): string {
  const quote = text[0];
  if (text.length < 2 || (quote !== "'" && quote !== '"') || !text.endsWith(quote)) {
    throw corrupt(cursor, "a quoted string does not end");
  }
  return text.slice(1, -1).replace(/\\(x[0-9a-fA-F]{2}|.)/g, (_, code: string) => {
    if (code.length === 3) return String.fromCharCode(parseInt(code.slice(1), 16));
    return ESCAPES.get(code) ?? code;
  });
}

/** Protocol 0 text: only \uXXXX and \UXXXXXXXX are escapes. */
function parseRawUnicode(text: string, cursor: ByteCursor): string {
  return text.replace(
    /\\(?:u([0-9a-fA-F]{4})|U([0-9a-fA-F]{8}))/g,
    (_, short?: string, long?: string) => {
      const code = parseInt(short ?? long ?? "", 16);
      if (code > 0x10ffff) throw corrupt(cursor, "a string is not Unicode");
      return String.fromCodePoint(code);
    },
  );
}

function corrupt(cursor: ByteCursor, problem: string): Error {
  return readFailure(cursor.path, "corrupt", `broken pickle: ${problem}`);
}
