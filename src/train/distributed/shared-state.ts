/** State that goes from the leader to the other processes. */
import type { Executable } from "../../engine/types.js";
import {
  elementCount,
  type Graph,
  parametersOf,
  type ParamOp,
  type State,
  type StateSource,
  toFloat32,
} from "../../graph/index.js";
import type { Team } from "./team.js";

/**
 * Gives every process the leader's buffers: each has the running statistics of its own images, and what
 * is validated and saved are the leader's. Parameters are the same everywhere.
 */
export async function shareBuffers(
  team: Team,
  executable: Executable,
  graph: Graph,
): Promise<void> {
  if (team.worldSize === 1) return;
  const buffers = parametersOf(graph).filter(({ role }) => role === "buffer");
  if (buffers.length === 0) return;
  const { state } = await executable.state();
  const bytes = packed(buffers, team.isLeader ? state : undefined);
  await team.broadcast(bytes);
  if (team.isLeader) return;
  await executable.restore({ state: new Map([...state, ...unpacked(buffers, bytes)]) });
}

/** The leader's tensors by name, such as velocities; undefined where it has none. */
export async function fromLeaderState(
  team: Team,
  name: string,
  graph: Graph,
  source: StateSource | undefined,
): Promise<StateSource | undefined> {
  if (team.worldSize === 1) return source;
  const names = await team.fromLeader(`names of ${name}`, () =>
    parametersOf(graph)
      .filter((op) => source?.get(op.name) !== undefined)
      .map((op) => op.name),
  );
  const there = new Set(names);
  const ops = parametersOf(graph).filter((op) => there.has(op.name));
  if (ops.length === 0) return undefined;
  const bytes = packed(ops, team.isLeader ? source : undefined);
  await team.meet(`broadcast of ${name}`);
  await team.broadcast(bytes);
  return team.isLeader ? source : unpacked(ops, bytes);
}

const WIDTH = { f32: 4, i64: 8 } as const; // bytes

/** One after the other; zeros where there is no source. */
function packed(ops: readonly ParamOp[], source: StateSource | undefined): Uint8Array {
  const size = ops.reduce((sum, op) => sum + sizeOf(op), 0);
  const bytes = new Uint8Array(size);
  let at = 0;
  for (const op of ops) {
    const tensor = source?.get(op.name);
    if (tensor !== undefined) {
      const { data } = op.dtype === "f32" ? toFloat32(tensor) : tensor;
      bytes.set(new Uint8Array(data.buffer, data.byteOffset, data.byteLength), at);
    }
    at += sizeOf(op);
  }
  return bytes;
}

function unpacked(ops: readonly ParamOp[], bytes: Uint8Array): State {
  let at = 0;
  return new Map(
    ops.map((op) => {
      const piece = bytes.slice(at, (at += sizeOf(op))).buffer;
      const data = op.dtype === "i64" ? new BigInt64Array(piece) : new Float32Array(piece);
      return [op.name, { shape: op.shape, data }];
    }),
  );
}

function sizeOf({ shape, dtype }: ParamOp): number {
  return elementCount(shape) * WIDTH[dtype];
}
