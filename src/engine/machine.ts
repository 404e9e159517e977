/** What kind of machine this is, as far as engines care. */
import { existsSync, readFileSync } from "node:fs";
import { arch, availableParallelism, cpus, freemem, loadavg, platform, totalmem } from "node:os";

export interface Machine {
  readonly node: string;
  /** `linux-x64`. */
  readonly platform: string;
  /** `Debian GNU/Linux 12 (bookworm)`, where the system says. */
  readonly system: string | undefined;
  readonly cpu: Cpu;
  readonly memory: { readonly total_bytes: number; readonly free_bytes: number };
  /** An NVIDIA driver is loaded. */
  readonly nvidia: boolean;
}

export interface Cpu {
  readonly model: string;
  readonly cores: number;
  /** Instruction sets that make a difference. */
  readonly features: readonly string[];
  /** How many cores were busy over the last minute. */
  readonly load: number;
}

const FEATURES = [
  ...["avx2", "fma", "avx512f", "avx512_bf16", "amx_bf16"], // x64
  ...["asimd", "sve", "bf16"], // arm64
];

export function describeMachine(): Machine {
  return {
    node: process.versions.node,
    platform: `${platform()}-${arch()}`,
    system: /^PRETTY_NAME="?([^"\n]*)/m.exec(read("/etc/os-release"))?.[1],
    cpu: {
      model: cpus()[0]?.model.trim() ?? "unknown",
      cores: availableParallelism(),
      features: cpuFeatures(read("/proc/cpuinfo")),
      load: Math.round(loadavg()[0]! * 100) / 100,
    },
    memory: { total_bytes: totalmem(), free_bytes: freemem() },
    nvidia: existsSync("/proc/driver/nvidia/version"),
  };
}

/** Of Linux's account of the CPU; other systems give none. */
export function cpuFeatures(cpuinfo: string): readonly string[] {
  const flags = /^(?:flags|Features)\s*:(.*)$/m.exec(cpuinfo)?.[1]?.trim().split(/\s+/) ?? [];
  return FEATURES.filter((name) => flags.includes(name));
}

function read(file: string): string {
  return existsSync(file) ? readFileSync(file, "utf8") : "";
}
