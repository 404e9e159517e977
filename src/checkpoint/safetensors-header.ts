/**
 * The JSON header of a safetensors file, parsed strictly.
 *
 * Its grammar is fixed: an object of tensors, each `{dtype, shape, data_offsets}`, and at most one
 * `__metadata__` of strings. JSON.parse would accept more and hide repeated keys, hence this parser.
 * Format: https://github.com/huggingface/safetensors#format
 */

/** One tensor as the header states it; nothing but the syntax has been checked. */
export interface HeaderEntry {
  readonly name: string;
  readonly dtype: string;
  readonly shape: readonly number[];
  /** Bytes, counted from the end of the header. */
  readonly begin: number;
  readonly end: number;
}

export interface Header {
  readonly metadata: ReadonlyMap<string, string>;
  readonly entries: readonly HeaderEntry[];
}

/** What is wrong with the header, without the name of the file. */
export class HeaderError extends Error {}

/** @throws HeaderError */
export function parseHeader(text: string): Header {
  const scanner = new Scanner(text);
  const entries: HeaderEntry[] = [];
  let metadata: Map<string, string> | undefined;
  scanner.object((name) => {
    if (name === "__metadata__") {
      const strings = new Map<string, string>();
      scanner.object((key) => strings.set(key, scanner.string()));
      metadata = strings;
    } else {
      entries.push(parseEntry(scanner, name));
    }
  });
  scanner.end();
  return { metadata: metadata ?? new Map<string, string>(), entries };
}

function parseEntry(scanner: Scanner, name: string): HeaderEntry {
  let dtype: string | undefined;
  let shape: number[] | undefined;
  let offsets: number[] | undefined;
  scanner.object((field) => {
    if (field === "dtype") dtype = scanner.string();
    else if (field === "shape") shape = scanner.naturals();
    else if (field === "data_offsets") offsets = scanner.naturals();
    else throw new HeaderError(`tensor ${name} has an unknown field "${field}"`);
  });
  if (dtype === undefined || shape === undefined || offsets === undefined) {
    throw new HeaderError(`tensor ${name} lacks dtype, shape or data_offsets`);
  }
  const [begin, end] = offsets;
  if (offsets.length !== 2 || begin === undefined || end === undefined) {
    throw new HeaderError(`tensor ${name} has ${offsets.length} data_offsets instead of 2`);
  }
  return { name, dtype, shape, begin, end };
}

/** Reads one JSON token after the other. */
class Scanner {
  readonly #text: string;
  #at = 0;

  constructor(text: string) {
    this.#text = text;
  }

  /** An object; `member` is called behind each key and consumes the value. Keys must be unique. */
  object(member: (key: string) => void): void {
    const keys = new Set<string>();
    this.#expect("{");
    if (this.#accept("}")) return;
    do {
      const key = this.string();
      if (keys.has(key)) throw new HeaderError(`the name "${key}" appears twice`);
      keys.add(key);
      this.#expect(":");
      member(key);
    } while (this.#accept(","));
    this.#expect("}");
  }

  string(): string {
    this.#expect('"');
    const start = this.#at - 1;
    for (;;) {
      const quote = this.#text.indexOf('"', this.#at);
      if (quote === -1) throw new HeaderError("a string does not end");
      this.#at = quote + 1;
      let backslashes = 0;
      while (this.#text[quote - 1 - backslashes] === "\\") backslashes++;
      if (backslashes % 2 === 0) break;
    }
    try {
      return JSON.parse(this.#text.slice(start, this.#at)) as string;
    } catch {
      throw new HeaderError(`a string is not valid JSON at character ${start}`);
    }
  }

  /** An array of integers from 0 to 2^53 - 1. */
  naturals(): number[] {
    const values: number[] = [];
    this.#expect("[");
    if (this.#accept("]")) return values;
    do {
      values.push(this.#natural());
    } while (this.#accept(","));
    this.#expect("]");
    return values;
  }

  end(): void {
    this.#skipSpace();
    if (this.#at !== this.#text.length) {
      throw new HeaderError(`something follows the object at character ${this.#at}`);
    }
  }

  #natural(): number {
    this.#skipSpace();
    const digits = /(?:0|[1-9][0-9]{0,15})/y;
    digits.lastIndex = this.#at;
    const found = digits.exec(this.#text)?.[0];
    const value = Number(found);
    const next = this.#text[this.#at + (found?.length ?? 0)];
    if (found === undefined || !Number.isSafeInteger(value) || !" \t\r\n,]".includes(next ?? "x")) {
      throw new HeaderError(`expected an integer from 0 to 2^53 - 1 at character ${this.#at}`);
    }
    this.#at += found.length;
    return value;
  }

  #accept(token: string): boolean {
    this.#skipSpace();
    if (this.#text[this.#at] !== token) return false;
    this.#at++;
    return true;
  }

  #expect(token: string): void {
    if (this.#accept(token)) return;
    const found = this.#text[this.#at];
    const what = found === undefined ? "the end" : JSON.stringify(found);
    throw new HeaderError(`expected ${token} at character ${this.#at}, found ${what}`);
  }

  #skipSpace(): void {
    while (" \t\r\n".includes(this.#text[this.#at] ?? "x")) this.#at++;
  }
}
