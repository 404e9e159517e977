/** The TensorFlow.js engine: the same graphs on the best backend that is installed. */
import { invalidArgument, RepkitError, usageError } from "../../errors.js";
import {
  graphToJson,
  parametersOf,
  verifyGraph,
  type Graph,
  type StateSource,
} from "../../graph/index.js";
import { checkLoadOptions } from "../checks.js";
import type { Device, Engine, LoadOptions } from "../types.js";
import { BACKEND_NAMES, type BackendName } from "./backend.js";
import { sendableState, TfjsExecutable } from "./executable.js";
import { Host, WORKER_SCRIPT } from "./host.js";
import { prepareEnvironment } from "./node/environment.js";
import type { Ready } from "./protocol.js";
import type { SessionOptions } from "./session.js";

export interface TfjsEngine extends Engine {
  load(graph: Graph, state: StateSource, options?: LoadOptions): Promise<TfjsExecutable>;
}

/**
 * The engine on that backend, or on the first that is there. Throws an `environment` error with the way
 * out where it is not. `script`: the compiled worker, where it is not beside this file.
 */
export async function tfjsEngine(name?: BackendName, script = WORKER_SCRIPT): Promise<TfjsEngine> {
  if (name !== undefined) return start(name, script);
  let failure: unknown;
  for (const candidate of BACKEND_NAMES) {
    try {
      return await start(candidate, script);
    } catch (error) {
      // The last one is the one that nothing can be missing for.
      failure = error;
    }
  }
  throw failure;
}

async function start(name: BackendName, script: string): Promise<TfjsEngine> {
  if (name === "node" || name === "node-gpu") prepareEnvironment();
  const { host, ready } = await Host.start(name, script);
  let executables = 0;
  return {
    ...{ name: `tfjs:${name}`, description: ready.description, devices: ready.devices },
    async load(graph, state, options = {}) {
      checkOptions(name, ready, options);
      verifyGraph(graph);
      const index = executables++;
      const values = sendableState(graph, state, "state");
      await host.call(index, "load", graphToJson(graph), values, sessionOptions(graph, options));
      const isTrainable = options.training !== undefined;
      return new TfjsExecutable(host, index, graph, { isTrainable });
    },
  };
}

function checkOptions(name: BackendName, { devices }: Ready, options: LoadOptions): void {
  const { device = "cpu", precision = "fp32" } = options;
  if (precision !== "fp32") {
    throw usageError(
      `precision ${precision}: TensorFlow.js computes in fp32 alone; use the engine torch`,
    );
  }
  checkDevice(name, device, devices);
  checkLoadOptions(options);
}

function checkDevice(name: BackendName, device: Device, devices: readonly Device[]): void {
  if (!/^(cpu|cuda(:\d+)?)$/.test(device)) {
    throw invalidArgument("device", "cpu, cuda or cuda:N", device);
  }
  if (devices.includes(device === "cuda" ? "cuda:0" : device)) return;
  const message = `device ${device}: engine tfjs:${name} has ${devices.join(", ")}`;
  throw new RepkitError("environment", message);
}

function sessionOptions(graph: Graph, options: LoadOptions): SessionOptions {
  const { checkFinite = false, training = {} } = options;
  const { momentum = 0.9, nesterov = false, labelSmoothing = 0, auxiliaryWeight = 0.1 } = training;
  const { penaltyWeight = 0, clipNorm, emaDecay, settings } = training;
  const trained = parametersOf(graph).filter(({ role }) => role === "param");
  return {
    ...{ checkFinite, momentum, nesterov, labelSmoothing, auxiliaryWeight },
    ...{ penaltyWeight, clipNorm, emaDecay },
    settings: new Map(trained.map((op) => [op.name, settings?.(op) ?? {}])),
  };
}
