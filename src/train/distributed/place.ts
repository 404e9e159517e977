/** Which process of a job this is, and what part of its node it may use. */
import { availableParallelism } from "node:os";

import type { Device } from "../../engine/types.js";
import { RepkitError } from "../../errors.js";
import type { DistributedConfig, TrainConfig } from "../config.js";

export interface Place {
  /** Of all processes; 0 is the leader, which alone writes files. */
  readonly rank: number;
  readonly worldSize: number;
  /** Of the processes of this node, as many on each. */
  readonly localRank: number;
  readonly localSize: number;
  /** `tcp://HOST:PORT` of the leader. */
  readonly url: string;
  readonly backend: "gloo" | "nccl" | null;
  readonly timeoutSeconds: number;
}

/** Of a process that was started as one of several. */
export function ownPlace(config: DistributedConfig, url: string): Place {
  const { rank, worldSize, localRank, localSize, backend, timeoutSeconds } = config;
  return { rank, worldSize, localRank, localSize, url, backend, timeoutSeconds };
}

/** Of the `nproc` processes that are to be started on this node. */
export function placesOfNode(config: DistributedConfig, nproc: number, url: string): Place[] {
  const { rank: node, worldSize: nodes, backend, timeoutSeconds } = config;
  return Array.from({ length: nproc }, (_, localRank) => ({
    ...{ rank: node * nproc + localRank, worldSize: nodes * nproc },
    ...{ localRank, localSize: nproc, url, backend, timeoutSeconds },
  }));
}

/** The settings by which one process alone would train the same: what checkpoints remember. */
export function asOneProcess(config: TrainConfig, nodes: number): TrainConfig {
  return {
    ...config,
    batchSize: config.batchSize * nodes,
    valBatchSize: config.valBatchSize * nodes,
    distributed: null,
  };
}

/** The same settings with this process's part of the node: threads, and its GPU. */
export function configAt(
  config: TrainConfig,
  place: Place,
  devices: readonly Device[],
): TrainConfig {
  const share = (count: number) => Math.max(1, Math.floor(count / place.localSize));
  return {
    ...config,
    workers: config.workers === 0 ? 0 : share(config.workers),
    threads: config.threads ?? share(availableParallelism()),
    device: deviceAt(config.device, place, devices),
  };
}

/** A GPU for each process of the node; where it sees one alone, whoever started it has shared them out. */
function deviceAt(
  asked: Device | null,
  { localRank, localSize }: Place,
  devices: readonly Device[],
): Device {
  const gpus = devices.filter((name) => name.startsWith("cuda"));
  if (asked === "cpu" || (asked === null && gpus.length === 0)) return "cpu";
  if (asked !== null && asked !== "cuda") return asked;
  if (gpus.length === 1 || localSize === 1) return gpus[localRank] ?? gpus[0] ?? "cuda";
  const own = gpus[localRank];
  if (own !== undefined) return own;
  throw new RepkitError(
    "environment",
    `process ${localRank} of this node: there are ${gpus.length} GPUs for ${localSize} processes; lower --nproc, or use --device cpu`,
  );
}
