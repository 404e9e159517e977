// A PyTorch process (bench-vs-pytorch.py) that runs what it is told and is idle in between.

import { spawn } from "node:child_process";
import { once } from "node:events";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";

const script = fileURLToPath(new URL("bench-vs-pytorch.py", import.meta.url));
// As the user has it: an engine that is loaded later may set variables for its own threads.
const env = { ...process.env };

export class PyTorch {
  #child;
  /** @type {AsyncIterator<string>} */
  #answers;
  #complaints = "";

  /**
   * @param {string} python
   * @param {number} threads
   */
  constructor(python, threads) {
    // -B: no compiled copy of pytorch_model.py in the working tree.
    this.#child = spawn(python, ["-B", script, String(threads)], { stdio: "pipe", env });
    this.#child.stderr.on("data", (text) => (this.#complaints += String(text)));
    // What fails here ends its output, which `ask` reports.
    this.#child.on("error", (error) => (this.#complaints += error.message));
    this.#child.stdin.on("error", () => undefined);
    this.#answers = createInterface({ input: this.#child.stdout })[Symbol.asyncIterator]();
  }

  /**
   * @param {Record<string, unknown>} request
   * @returns {Promise<Record<string, unknown>>}
   */
  async ask(request) {
    this.#child.stdin.write(`${JSON.stringify(request)}\n`);
    const line = await this.#answers.next();
    if (line.done === true) throw new Error(`PyTorch stopped: ${this.#complaints.trim()}`);
    /** @type {unknown} */
    const parsed = JSON.parse(line.value);
    const answer = /** @type {Record<string, unknown>} */ (parsed);
    if ("error" in answer) throw new Error(`PyTorch: ${String(answer["error"])}`);
    return answer;
  }

  async stop() {
    if (this.#child.exitCode !== null || this.#child.pid === undefined) return;
    this.#child.stdin.end();
    await once(this.#child, "exit");
  }
}
