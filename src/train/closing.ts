/** Frees what a job opened, the last first. */
export class Closing {
  readonly #closers: (() => unknown)[] = [];

  add<T>(value: T, close: (value: T) => unknown): T {
    this.#closers.push(() => close(value));
    return value;
  }

  async close(): Promise<void> {
    for (const close of this.#closers.reverse()) await close();
  }
}
