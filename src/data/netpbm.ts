/** Binary PGM and PPM (netpbm's P5 and P6) of 8 or 16 bits, as Pillow 9.4 turns them into RGB. */
import { ImageFailure } from "./failure.js";
import { checkPixels, type ImageFile } from "./image-file.js";
import { roundHalfEven } from "./placement.js";
import type { RgbImage } from "./types.js";

/** Throws ImageFailure. `lenient`: what a truncated file lacks is black. */
export function readNetpbm({ path, bytes }: ImageFile, lenient: boolean): RgbImage {
  const isGray = bytes[1] === 0x35; // "5"
  if (!isGray && bytes[1] !== 0x36) {
    const kind = bytes.toString("latin1", 0, 2);
    throw new ImageFailure(path, "unsupported", `netpbm's ${kind} is not read; save it as PNG`);
  }
  const header = new HeaderReader(path, bytes);
  const width = header.number("width", 2 ** 31 - 1);
  const height = header.number("height", 2 ** 31 - 1);
  const maximum = header.number("maximum", 65535);
  checkPixels(path, width, height);
  const bands = isGray ? 1 : 3;
  const sampleBytes = maximum > 255 ? 2 : 1;
  const available = Math.floor((bytes.length - header.at) / sampleBytes);
  const samples = Math.min(width * height * bands, available);
  if (samples < width * height * bands && !lenient) {
    throw new ImageFailure(path, "truncated", "the end of the file is missing");
  }
  const levels = levelTable(maximum, isGray);
  const data = new Uint8Array(width * height * 3);
  for (let index = 0; index < samples; index++) {
    const at = header.at + index * sampleBytes;
    const value = sampleBytes === 1 ? bytes[at]! : bytes.readUInt16BE(at);
    const level = levels[value]!;
    if (isGray) data.fill(level, index * 3, index * 3 + 3);
    else data[index] = level;
  }
  return { width, height, data };
}

/** From a sample to 8 bits. */
function levelTable(maximum: number, isGray: boolean): Uint8Array {
  // Pillow opens a gray image of more than 8 bits as 32-bit numbers up to 65535, of which
  // convert("RGB") clips those above 255.
  const full = isGray && maximum > 255 ? 65535 : 255;
  return Uint8Array.from({ length: maximum > 255 ? 65536 : 256 }, (_, value) =>
    Math.min(255, roundHalfEven((value / maximum) * full)),
  );
}

/** Decimal numbers between white space and comments. */
class HeaderReader {
  readonly #path: string;
  readonly #bytes: Buffer;
  at = 2;

  constructor(path: string, bytes: Buffer) {
    this.#path = path;
    this.#bytes = bytes;
  }

  /** The next number; `at` is then behind the one character that ends it. */
  number(name: string, most: number): number {
    let digits = "";
    for (;;) {
      const character = this.#next();
      if (character === "#") while (!/[\r\n]/.test(this.#next()));
      else if (/[0-9]/.test(character)) digits += character;
      else if (!/\s/.test(character)) throw this.#damaged(name);
      else if (digits !== "") break;
      if (digits.length > 10) throw this.#damaged(name);
    }
    const value = Number(digits);
    if (value < 1 || value > most) throw this.#damaged(name);
    return value;
  }

  #next(): string {
    const byte = this.#bytes[this.at++];
    if (byte !== undefined) return String.fromCharCode(byte);
    throw new ImageFailure(this.#path, "truncated", "the file ends in its header");
  }

  #damaged(name: string): ImageFailure {
    return new ImageFailure(this.#path, "corrupt", `the netpbm header has no ${name}`);
  }
}
