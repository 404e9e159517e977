/** The processes of a training job, over the addon's binding of c10d. */
import { isIP } from "node:net";

import { invalidArgument, usageError } from "../../errors.js";
import { checkNumber } from "../checks.js";
import type {
  Backend,
  CommunicationStatistics,
  ProcessGroup,
  ProcessGroupOptions,
  ProcessStore,
} from "../types.js";
import { inKind } from "./executable.js";
import type { NativeAddon, NativeProcessGroup } from "./native.js";

export async function connectGroup(
  addon: NativeAddon,
  options: ProcessGroupOptions,
): Promise<ProcessGroup> {
  const { rank, worldSize, backend = "gloo", timeoutSeconds } = options;
  const { collectiveTimeoutSeconds = timeoutSeconds } = options;
  const { host, port } = parseUrl(options.url);
  checkCount("worldSize", worldSize, 1, "1 or more");
  checkCount("rank", rank, 0, `0 to ${worldSize - 1}`, worldSize - 1);
  if (!["gloo", "nccl"].includes(backend))
    throw invalidArgument("backend", "gloo or nccl", backend);
  checkNumber("timeoutSeconds", timeoutSeconds, { from: 0 });
  checkNumber("collectiveTimeoutSeconds", collectiveTimeoutSeconds, { from: 0 });
  const native = new addon.ProcessGroup();
  try {
    await inKind(() =>
      native.connect({
        ...{ host, port, rank, worldSize, backend, timeoutSeconds, collectiveTimeoutSeconds },
        interface: options.interface,
      }),
    );
  } catch (error) {
    await native.close();
    throw error;
  }
  return new TorchProcessGroup(native, { rank, worldSize, backend });
}

/** Of a group that `connectGroup` made. */
export function nativeGroup(group: ProcessGroup): NativeProcessGroup {
  if (group instanceof TorchProcessGroup) return group.native;
  throw usageError("group: expected one that this engine's connect has made");
}

class TorchProcessGroup implements ProcessGroup {
  readonly native: NativeProcessGroup;
  readonly rank: number;
  readonly worldSize: number;
  readonly backend: Backend;
  readonly store: ProcessStore;

  constructor(
    native: NativeProcessGroup,
    { rank, worldSize, backend }: Pick<ProcessGroup, "rank" | "worldSize" | "backend">,
  ) {
    this.native = native;
    this.rank = rank;
    this.worldSize = worldSize;
    this.backend = backend;
    this.store = {
      set: (key, value) => inKind(() => native.set(key, value)),
      get: (key) => inKind(() => native.get(key)),
      add: (key, amount) => inKind(() => native.add(key, amount)),
    };
  }

  async allReduce(values: Float64Array): Promise<Float64Array> {
    values.set(await inKind(() => this.native.allReduce(values)));
    return values;
  }

  async broadcast(bytes: Uint8Array, root = 0): Promise<Uint8Array> {
    checkCount("root", root, 0, `0 to ${this.worldSize - 1}`, this.worldSize - 1);
    const received = await inKind(() => this.native.broadcast(bytes, root));
    if (this.rank !== root) bytes.set(received);
    return bytes;
  }

  barrier(): Promise<void> {
    return inKind(() => this.native.barrier());
  }

  statistics(): CommunicationStatistics {
    return this.native.statistics();
  }

  close(): Promise<void> {
    return inKind(() => this.native.close());
  }
}

function parseUrl(url: string): { host: string; port: number } {
  const expected = "tcp://HOST:PORT";
  const match = /^tcp:\/\/(?:\[([^\]]+)\]|([^:/[\]]+)):(\d+)\/?$/.exec(url);
  if (match === null) throw invalidArgument("url", expected, url);
  const [, digits, name = "", port = ""] = match;
  if (digits !== undefined && isIP(digits.replace(/%.*/, "")) !== 6) {
    throw invalidArgument("url", expected, url);
  }
  if (Number(port) < 1 || Number(port) > 65_535) throw invalidArgument("url", expected, url);
  return { host: digits ?? name, port: Number(port) };
}

function checkCount(name: string, value: number, from: number, range: string, to = 2 ** 31): void {
  if (Number.isInteger(value) && value >= from && value <= to) return;
  throw invalidArgument(name, `a whole number, ${range}`, value);
}
