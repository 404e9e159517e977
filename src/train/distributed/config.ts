/**
 * How many processes train, and which of them this is. As in the references' scripts, `world-size` and
 * `rank` count nodes where this command starts the processes of its node (`nproc`, or
 * `multiprocessing-distributed` for one per GPU), and processes where something else starts them.
 */
import { usageError } from "../../errors.js";
import type { DistributedConfig } from "../config.js";
import type { Settings } from "../defaults.js";
import { problemWith, type SettingName } from "../recipe-schema.js";

type Environment = Readonly<Record<string, string | undefined>>;

/**
 * Null: one process alone. `env://` takes what torchrun sets: WORLD_SIZE, RANK, MASTER_ADDR, MASTER_PORT,
 * and LOCAL_RANK and LOCAL_WORLD_SIZE where they are there.
 */
export function distributedConfig(s: Settings, environment: Environment): DistributedConfig | null {
  const byEnvironment = s["dist-url"] === "env://";
  const from = byEnvironment ? environment : {};
  const nproc = s.nproc ?? (s["multiprocessing-distributed"] ? null : 1);
  const worldSize = s["world-size"] ?? count("world-size", "WORLD_SIZE", from) ?? 1;
  if (worldSize === 1 && nproc === 1) return null;
  const rank = s.rank ?? count("rank", "RANK", from) ?? (worldSize === 1 ? 0 : undefined);
  if (rank === undefined) throw usageError(`--world-size ${worldSize}: add this node's --rank`);
  if (rank >= worldSize) {
    throw usageError(`--rank ${rank}: expected less than --world-size ${worldSize}`);
  }
  const url = byEnvironment ? urlFrom(environment) : (s["dist-url"] ?? null);
  if (url === null && worldSize > 1) {
    throw usageError(`--world-size ${worldSize}: add --dist-url tcp://HOST:PORT, rank 0's`);
  }
  return {
    ...{ worldSize, rank },
    ...(nproc === 1 ? local(from, worldSize) : { localSize: 1, localRank: 0 }),
    ...{ nproc, url, backend: s["dist-backend"] ?? null, timeoutSeconds: s["dist-timeout"] },
  };
}

/** Of the processes that something else started on this node. */
function local(from: Environment, worldSize: number) {
  const localSize = count("nproc", "LOCAL_WORLD_SIZE", from) ?? 1;
  const localRank = count("rank", "LOCAL_RANK", from) ?? 0;
  if (worldSize % localSize !== 0) {
    throw usageError(
      `LOCAL_WORLD_SIZE ${localSize} in the environment: expected as many on each node, and WORLD_SIZE is ${worldSize}`,
    );
  }
  return { localSize, localRank };
}

function count(setting: SettingName, name: string, environment: Environment): number | undefined {
  const text = environment[name];
  if (text === undefined) return undefined;
  const problem = problemWith(setting, /^\d+$/.test(text) ? Number(text) : text);
  if (problem !== undefined) throw usageError(`${name} in the environment: ${problem}`);
  return Number(text);
}

function urlFrom({ MASTER_ADDR, MASTER_PORT }: Environment): string {
  if (!MASTER_ADDR || !MASTER_PORT) {
    throw usageError("--dist-url env://: set MASTER_ADDR and MASTER_PORT, or give tcp://HOST:PORT");
  }
  const url = `tcp://${MASTER_ADDR.includes(":") ? `[${MASTER_ADDR}]` : MASTER_ADDR}:${MASTER_PORT}`;
  const problem = problemWith("dist-url", url);
  if (problem !== undefined) throw usageError(`MASTER_ADDR and MASTER_PORT: ${problem}`);
  return url;
}
