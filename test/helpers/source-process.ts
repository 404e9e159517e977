// Processes of their own that run a piece of code on src/, compiled for them.

import { spawn, type ChildProcessWithoutNullStreams } from "node:child_process";
import { mkdirSync, readdirSync, symlinkSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";

import { transformFileSync } from "@swc/core";

const ROOT = fileURLToPath(new URL("../../", import.meta.url));

/** Compiles src/ (or these of its folders) into a folder; the result starts scripts beside it. */
export function sourceProcesses(
  folder: string,
  parts: readonly string[],
): (code: string, ...args: string[]) => SourceProcess {
  const files = parts.flatMap((part) =>
    part.endsWith(".ts")
      ? [part]
      : readdirSync(join(ROOT, "src", part), { recursive: true, encoding: "utf8" })
          .filter((name) => name.endsWith(".ts"))
          .map((name) => join(part, name)),
  );
  for (const file of files) {
    const { code } = transformFileSync(join(ROOT, "src", file), {
      swcrc: false,
      jsc: { target: "es2023", parser: { syntax: "typescript" } },
    });
    const target = join(folder, file.replace(/\.ts$/, ".js"));
    mkdirSync(dirname(target), { recursive: true });
    writeFileSync(target, code);
  }
  writeFileSync(join(folder, "package.json"), '{"type":"module"}');
  symlinkSync(join(ROOT, "node_modules"), join(folder, "node_modules"));
  let scripts = 0;
  return (code, ...args) => {
    const script = join(folder, `script${scripts++}.js`);
    writeFileSync(script, code);
    const { NODE_OPTIONS: _options, ...env } = process.env;
    return new SourceProcess(spawn(process.execPath, [script, ...args], { env }));
  };
}

export class SourceProcess {
  readonly pid: number;
  readonly #child: ChildProcessWithoutNullStreams;
  readonly #lines: string[] = [];
  readonly #waiting: ((line: string) => void)[] = [];
  readonly #closed: Promise<number | NodeJS.Signals | null>;
  #errors = "";

  constructor(child: ChildProcessWithoutNullStreams) {
    this.#child = child;
    this.pid = child.pid ?? 0;
    createInterface({ input: child.stdout }).on("line", (line) => {
      const waiting = this.#waiting.shift();
      if (waiting === undefined) this.#lines.push(line);
      else waiting(line);
    });
    child.stderr.on("data", (piece: Buffer) => (this.#errors += piece.toString()));
    this.#closed = new Promise((resolve) => {
      child.once("close", (code, signal) => {
        for (const waiting of this.#waiting) waiting(`ended: ${this.#errors}`);
        resolve(signal ?? code);
      });
    });
  }

  /** The next line of its output. */
  line(): Promise<string> {
    const line = this.#lines.shift();
    if (line !== undefined) return Promise.resolve(line);
    return new Promise((resolve) => this.#waiting.push(resolve));
  }

  send(line: string): void {
    this.#child.stdin.write(`${line}\n`);
  }

  /** Ends its input, which it may wait for, and waits for its end; returns its exit code, or what killed it. */
  async end(): Promise<number | NodeJS.Signals | null> {
    this.#child.stdin.end();
    return this.#closed;
  }

  signal(signal: NodeJS.Signals): void {
    this.#child.kill(signal);
  }

  async kill(): Promise<void> {
    this.#child.kill("SIGKILL");
    await this.#closed;
  }
}
