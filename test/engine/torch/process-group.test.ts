// Collectives and the store of the torch engine's process groups.

import { expect, it } from "@jest/globals";

import type { ProcessGroup } from "../../../src/engine/types.js";
import { failureOf } from "../../helpers/failures.js";
import { connect, freePort, inGroup } from "../../helpers/process-group.js";
import { describeTorch } from "../../helpers/torch-engine.js";

describeTorch("process groups", (engine) => {
  it("sums are those over all ranks, the same bits in each, and in the caller's array", async () => {
    const sums = await inGroup(engine, 3, async (group) => {
      const values = Float64Array.from([1e-3 / 3, 0.1 * group.rank, 10 ** group.rank, NaN]);
      expect(await group.allReduce(values)).toBe(values);
      return [...values];
    });
    expect(sums[0]![0]).toBeCloseTo(1e-3, 15);
    expect(sums[0]![1]).toBeCloseTo(0.3, 15);
    expect(sums[0]!.slice(2)).toEqual([111, NaN]);
    expect(sums[1]).toEqual(sums[0]);
    expect(sums[2]).toEqual(sums[0]);
  });

  it("broadcasts come from the root, whatever the others hold", async () => {
    const received = await inGroup(engine, 3, async (group) => {
      const first = await group.broadcast(Uint8Array.of(group.rank, 7));
      const second = await group.broadcast(new Uint8Array(3).fill(group.rank), 2);
      return [[...first], [...second], [...(await group.broadcast(new Uint8Array(0)))]];
    });
    for (const each of received) expect(each).toEqual([[0, 7], [2, 2, 2], []]);
  });

  it("a barrier holds until the last has come", async () => {
    const events: string[] = [];
    await inGroup(engine, 2, async (group) => {
      if (group.rank === 1) await new Promise((resolve) => setTimeout(resolve, 100));
      events.push(`${group.rank} comes`);
      await group.barrier();
      events.push("passed");
    });
    expect(events).toEqual(["0 comes", "1 comes", "passed", "passed"]);
  });

  it("a group of one process works too", async () => {
    const [sum] = await inGroup(engine, 1, (group) => group.allReduce(Float64Array.of(4)));
    expect(sum).toEqual(Float64Array.of(4));
  });

  it("the store holds texts and counters, beside a collective that waits", async () => {
    await inGroup(engine, 2, async (group) => {
      const { store, rank } = group;
      if (rank === 1) {
        await until(async () => (await store.get("said")) !== undefined);
        expect(await store.add("count", 3)).toBe(3);
        await group.barrier();
        return;
      }
      expect(await store.get("nothing")).toBeUndefined();
      const waiting = group.barrier();
      await store.set("said", "ä, and more");
      expect(await store.get("said")).toBe("ä, and more");
      await until(async () => (await store.add("count", 0)) === 3);
      await waiting;
    });
  });

  it("a late process is a failure after the time given, and of everything after", async () => {
    const options = { collectiveTimeoutSeconds: 0.3 };
    await inGroup(
      engine,
      2,
      async (group) => {
        if (group.rank === 1) return;
        const error = await failureOf(() => group.barrier());
        expect(error.kind).toBe("environment");
        expect(error.message).toMatch(/another process has ended, or is late/);
        expect((await failureOf(() => group.allReduce(Float64Array.of(1)))).kind).toBe(
          "environment",
        );
      },
      options,
    );
  });

  it("closing ends what is under way", async () => {
    await inGroup(engine, 2, async (group) => {
      if (group.rank === 1) return;
      const waiting = failureOf(() => group.barrier());
      await group.close();
      expect((await waiting).message).toMatch(/closed/);
      expect((await failureOf(() => group.store.get("x"))).kind).toBe("environment");
    });
  });

  it("processes that do not come are named", async () => {
    const url = `tcp://127.0.0.1:${await freePort()}`;
    const error = await failureOf(() =>
      connect(engine, { url, rank: 0, worldSize: 3, timeoutSeconds: 0.2 }),
    );
    expect(error.kind).toBe("environment");
    expect(error.message).toMatch(/missing: rank 1, 2$/);
  });

  it("a store that is not there is named", async () => {
    const url = `tcp://127.0.0.1:${await freePort()}`;
    const error = await failureOf(() =>
      connect(engine, { url, rank: 1, worldSize: 2, timeoutSeconds: 0.2 }),
    );
    expect(error.kind).toBe("environment");
    expect(error.message).toMatch(
      /rank 0 cannot be reached at tcp:\/\/127\.0\.0\.1:\d+: Connection refused$/,
    );
  });

  it("processes that disagree on their number all hear of it", async () => {
    const url = `tcp://127.0.0.1:${await freePort()}`;
    const attempts = [2, 3].map((worldSize, rank) =>
      failureOf(() => connect(engine, { url, rank, worldSize, timeoutSeconds: 5 })),
    );
    for (const error of await Promise.all(attempts)) {
      expect(error.kind).toBe("usage");
      expect(error.message).toMatch(/expects [23] processes .* expects [23] processes/);
    }
  });

  it("two processes of the same rank are refused", async () => {
    const url = `tcp://127.0.0.1:${await freePort()}`;
    const options = { url, worldSize: 3, timeoutSeconds: 1 };
    const first = failureOf(() => connect(engine, { ...options, rank: 0 }));
    const twins = [1, 1].map((rank) => failureOf(() => connect(engine, { ...options, rank })));
    const kinds = (await Promise.all(twins)).map(({ kind }) => kind);
    expect(kinds.sort()).toEqual(["environment", "usage"]);
    expect((await first).message).toMatch(/missing: rank 2/);
  });

  it("IPv6 addresses are in brackets", async () => {
    const url = `tcp://[::1]:${await freePort()}`;
    const sums = await inGroup(engine, 2, (group) => group.allReduce(Float64Array.of(1)), { url });
    expect(sums).toEqual([Float64Array.of(2), Float64Array.of(2)]);
  });

  it.each([
    "127.0.0.1:80",
    "tcp://host",
    "tcp://h:0",
    "tcp://::1:80",
    "tcp://[x]:80",
    "http://h:80",
  ])("%s is no address", async (url) => {
    const failing = connect(engine, { url, rank: 0, worldSize: 1, timeoutSeconds: 1 });
    expect((await failureOf(() => failing)).kind).toBe("usage");
  });

  it("ranks are below the number of processes", async () => {
    const options = { url: "tcp://127.0.0.1:1", worldSize: 2, timeoutSeconds: 1 };
    expect((await failureOf(() => connect(engine, { ...options, rank: 2 }))).kind).toBe("usage");
  });

  it("NCCL without a CUDA device is refused at once, whether or not it is compiled in", async () => {
    if (engine.devices.length > 1) return;
    const options = { url: "tcp://127.0.0.1:1", rank: 0, worldSize: 2, timeoutSeconds: 60 };
    const error = await failureOf(() => connect(engine, { ...options, backend: "nccl" }));
    expect(error.kind).toBe("environment");
    expect(error.message).toMatch(/backend nccl: .*; use gloo$/);
  });

  it("an interface that is not there is an environment error", async () => {
    const failing = inGroup(engine, 1, (group: ProcessGroup) => group.barrier(), {
      interface: "nosuch0",
    });
    expect((await failureOf(() => failing)).kind).toBe("environment");
  });
});

async function until(condition: () => Promise<boolean>): Promise<void> {
  while (!(await condition())) await new Promise((resolve) => setTimeout(resolve, 5));
}
