/** What `repkit doctor` says about tfjs on TensorFlow. */
import { buildCommandOf } from "../../../addons/addon.js";
import { probeAddon } from "../../../addons/probe.js";
import type { EngineReport } from "../../doctor.js";
import { backendName, type Variant } from "./addon.js";
import { findTfjsNode, type TfjsNodeOptions } from "./load.js";

/** Of the addon, asked in a process of its own. */
const QUESTION = "({ version: addon.TF_Version, gpu: addon.isUsingGpuDevice() })";

/** `tfjs:node` or `tfjs:node-gpu`. */
export function diagnoseTfjsNode(name: Variant, options: TfjsNodeOptions = {}): EngineReport {
  const engine = `tfjs:${backendName(name)}`;
  const source = findTfjsNode(name, options);
  if ("problem" in source) return { name: engine, ok: false, problems: [source] };
  const { env = process.env } = options;
  const { addonPath: path } = source;
  const probe = probeAddon({ name }, path, { TF_CPP_MIN_LOG_LEVEL: "2", ...env }, QUESTION);
  if ("problem" in probe) {
    const fix = `${buildCommandOf({ name })} --force`;
    return { name: engine, ok: false, path, problems: [{ problem: probe.problem, fix }] };
  }
  const { version, gpu } = probe.description as { version: string; gpu: boolean };
  const devices = gpu ? ["cpu", "cuda:0"] : ["cpu"];
  const problems =
    name === "tfjs-node-gpu" && !gpu
      ? [{ problem: `TensorFlow ${version} finds no GPU, and computes on the CPU` }]
      : [];
  return { name: engine, ok: true, version: `TensorFlow ${version}`, devices, path, problems };
}
