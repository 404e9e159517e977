/** Frees what a job opened, the last first. */
export class Closing {
  readonly #closers: (() => unknown)[] = [];

  add<T>(value: T, close: (value: T) => unknown): T {
    this.#closers.push(() => close(value));
    return value;
  }

  /** What cannot be closed keeps nothing else from it; the first such failure is thrown at the end. */
  async close(): Promise<void> {
    const failures: unknown[] = [];
    for (const close of this.#closers.reverse()) {
      try {
        await close();
      } catch (error) {
        failures.push(error);
      }
    }
    if (failures.length > 0) throw failures[0];
  }

  /** After a failure, which is not to be hidden by those that follow from it. */
  async closeQuietly(): Promise<void> {
    await this.close().catch(() => undefined);
  }
}
