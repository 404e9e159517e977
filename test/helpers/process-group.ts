// Process groups of the torch engine within one process: every rank has threads and connections of its own.

import { createServer } from "node:net";

import type { Engine, ProcessGroup, ProcessGroupOptions } from "../../src/engine/types.js";

/** A port of 127.0.0.1 that nothing listens at. */
export async function freePort(): Promise<number> {
  const server = createServer().listen(0, "127.0.0.1");
  await new Promise((resolve) => server.once("listening", resolve));
  const address = server.address();
  await new Promise((resolve) => server.close(resolve));
  if (address === null || typeof address === "string") throw new Error("no port");
  return address.port;
}

/** One rank of a group at `url`. */
export function connect(engine: Engine, options: ProcessGroupOptions): Promise<ProcessGroup> {
  if (engine.connect === undefined) throw new Error("this engine knows no groups");
  return engine.connect(options);
}

/** Runs every rank of a group side by side; returns what each returns. */
export async function inGroup<T>(
  engine: Engine,
  worldSize: number,
  work: (group: ProcessGroup) => Promise<T>,
  options: Partial<ProcessGroupOptions> = {},
): Promise<T[]> {
  const url = `tcp://127.0.0.1:${await freePort()}`;
  const groups = await Promise.all(
    Array.from({ length: worldSize }, (_, rank) =>
      connect(engine, { url, rank, worldSize, timeoutSeconds: 30, ...options }),
    ),
  );
  try {
    return await Promise.all(groups.map(work));
  } finally {
    await Promise.all(groups.map((group) => group.close()));
  }
}
