/** The torch engine: graphs run in C++ on ATen, with autograd, on the CPU or a CUDA device. */
import { availableParallelism } from "node:os";

import { invalidArgument, RepkitError, usageError } from "../../errors.js";
import { parametersOf, verifyGraph, type Graph, type StateSource } from "../../graph/index.js";
import { checkLoadOptions, namedTensors } from "../checks.js";
import type { Device, Engine, LoadOptions } from "../types.js";
import { loadAddon } from "./addon.js";
import { inKind, TorchExecutable } from "./executable.js";
import type { NativeAddon, NativeOptions, NativeParameter } from "./native.js";
import { connectGroup, nativeGroup } from "./process-group.js";

/** Throws an `environment` error with the way out where the addon is not built or does not load. */
export function torchEngine(): Engine {
  const addon = loadAddon() as NativeAddon;
  const { version, cudaDevices } = addon.describe();
  const cuda = Array.from({ length: cudaDevices }, (_, index) => `cuda:${index}` as const);
  const devices: Device[] = ["cpu", ...cuda];
  return {
    name: "torch",
    description: `libtorch ${version} (${devices.join(", ")})`,
    devices,
    load: (graph, state, options = {}) => load(addon, graph, state, options),
    connect: (options) => connectGroup(addon, options),
  };
}

async function load(
  addon: NativeAddon,
  graph: Graph,
  state: StateSource,
  options: LoadOptions,
): Promise<TorchExecutable> {
  const device = checkDevice(options.device ?? "cpu", addon.describe().cudaDevices);
  if (options.precision === "tf32" && device === "cpu") {
    throw usageError("precision tf32: only CUDA devices have it; the CPU has fp32 and bf16");
  }
  verifyGraph(graph);
  checkLoadOptions(options);
  if (options.deterministic === true && device !== "cpu") {
    // cuBLAS asks for it, and reads it at its first product.
    process.env["CUBLAS_WORKSPACE_CONFIG"] ??= ":4096:8";
  }
  const group = options.group === undefined ? undefined : nativeGroup(options.group);
  if (options.group?.backend === "nccl" && device === "cpu") {
    throw usageError("backend nccl: it adds up gradients on CUDA devices; use gloo on the CPU");
  }
  const native = new addon.Executable();
  const parameters = nativeParameters(graph, state, options);
  await inKind(() => native.load(parameters, nativeOptions(options, device), group));
  return new TorchExecutable(native, graph, options);
}

function checkDevice(device: Device, cudaDevices: number): string {
  if (device === "cpu") return device;
  const match = /^cuda(?::(\d+))?$/.exec(device);
  if (match === null) throw invalidArgument("device", "cpu, cuda or cuda:N", device);
  const [, index = "0"] = match;
  if (Number(index) < cudaDevices) return `cuda:${index}`;
  const found = cudaDevices === 0 ? "no CUDA device" : `${cudaDevices} of them`;
  throw new RepkitError("environment", `device ${device}: libtorch finds ${found}`);
}

function nativeParameters(
  graph: Graph,
  state: StateSource,
  { training }: LoadOptions,
): NativeParameter[] {
  const tensors = new Map(namedTensors(graph, state, "state", { isWhole: true }));
  return parametersOf(graph).map((op) => {
    const tensor = tensors.get(op.name)!;
    const { lrMultiplier = 1, weightDecay = 0 } = training?.settings?.(op) ?? {};
    const trainable = op.role === "param";
    return { ...tensor, name: op.name, trainable, lrMultiplier, weightDecay };
  });
}

function nativeOptions(options: LoadOptions, device: string): NativeOptions {
  const { training = {} } = options;
  return {
    device,
    precision: options.precision ?? "fp32",
    threads: options.threads ?? availableParallelism(),
    deterministic: options.deterministic ?? false,
    checkFinite: options.checkFinite ?? false,
    momentum: training.momentum ?? 0.9,
    nesterov: training.nesterov ?? false,
    labelSmoothing: training.labelSmoothing ?? 0,
    auxiliaryWeight: training.auxiliaryWeight ?? 0.1,
    penaltyWeight: training.penaltyWeight ?? 0,
    clipNorm: training.clipNorm,
    emaDecay: training.emaDecay,
  };
}
