// Who notices that a process is lost, and whom it names. Half a second takes the place of minutes.

import { setTimeout as sleep } from "node:timers/promises";

import { afterEach, describe, expect, it } from "@jest/globals";

import { RepkitError } from "../../../src/errors.js";
import { PeerFailure } from "../../../src/train/distributed/failure.js";
import { Watch } from "../../../src/train/distributed/watch.js";
import { FakeGroups } from "../../helpers/fake-group.js";

const TIMEOUT = 1; // seconds

const running: Watch[] = [];
afterEach(async () => {
  await Promise.all(running.splice(0).map((watch) => watch.stop()));
});

function watches(groups: FakeGroups, timeoutSeconds = TIMEOUT): Watch[] {
  return groups.ranks.map((group) => {
    const { rank, worldSize } = group;
    const watch = new Watch({
      ...{ rank, worldSize, timeoutSeconds, where: `host ${rank}`, url: "tcp://h:1" },
      store: group.store,
      isStop: () => false,
    });
    running.push(watch);
    watch.start();
    return watch;
  });
}

/** The failure that a process is told of; the machine may be busy. */
async function failure({ signal }: Watch, seconds = 5): Promise<string> {
  const started = performance.now();
  while (!signal.aborted && performance.now() - started < 1000 * seconds) await sleep(10);
  return signal.aborted ? (signal.reason as Error).message : "none";
}

const broken = () => new RepkitError("environment", "torch engine: Connection closed by peer");

describe("a process that falls silent", () => {
  it("is named everywhere within the timeout, with what it was about", async () => {
    const groups = new FakeGroups(3);
    const all = watches(groups);
    all[2]!.at("waiting for the images of step 7");
    await sleep(120);
    groups.cut(2);
    const named =
      /^rank 2 \(host 2\): has not been heard from for \d\.\d s; its last word: waiting for the images of step 7$/;
    expect(await failure(all[0]!)).toMatch(named);
    expect(await failure(all[1]!)).toMatch(named);
    // It finds by itself that it is alone.
    expect(await failure(all[2]!)).toMatch(
      /^rank 0 \(host 0\): its store at tcp:\/\/h:1 cannot be reached/,
    );
  });

  it("is the leader: the others lose its store", async () => {
    const groups = new FakeGroups(3);
    const all = watches(groups);
    await sleep(120);
    groups.cut(0);
    for (const watch of all.slice(1)) {
      expect(await failure(watch)).toMatch(/^rank 0 \(host 0\): its store at .* cannot be reached/);
    }
  });

  it("has ended in order: nobody misses it", async () => {
    const groups = new FakeGroups(2);
    const all = watches(groups);
    await sleep(60);
    await all[1]!.stop();
    expect(await failure(all[0]!, 0.8)).toBe("none");
  });

  it("may be busy for a while, as long as it comes back", async () => {
    const groups = new FakeGroups(2);
    const [leader] = watches(groups);
    await sleep(60);
    // The event loop stands still, as while a checkpoint is written: nobody else's silence.
    const until = performance.now() + 700;
    while (performance.now() < until);
    expect(await failure(leader!, 0.3)).toBe("none");
  });
});

describe("an error of a process", () => {
  it("ends the others with its message and its exit code; the first one counts", async () => {
    const groups = new FakeGroups(3);
    const all = watches(groups);
    await sleep(60);
    const error = new RepkitError("file", "/data/train: no such folder");
    expect(await all[1]!.explain(error)).toBe(error);
    for (const each of [0, 2]) {
      expect(await failure(all[each]!)).toBe("rank 1 (host 1): /data/train: no such folder");
      expect((all[each]!.signal.reason as PeerFailure).exitCode).toBe(3);
      // What follows from it is not its own.
      expect(await all[each]!.explain(broken())).toBe(all[each]!.signal.reason);
    }
    expect(groups.counters.get("failures")).toBe(1);
  });

  it("of the leader is there until the others have read it", async () => {
    const groups = new FakeGroups(3);
    const all = watches(groups);
    await sleep(60);
    await all[0]!.explain(new RepkitError("usage", "the folder is in use"));
    groups.cut(0); // its process has ended
    for (const watch of all.slice(1)) {
      expect(await failure(watch)).toBe("rank 0 (host 0): the folder is in use");
    }
  });

  it("in a collective is the fault of who is silent", async () => {
    const groups = new FakeGroups(3);
    const all = watches(groups, 10);
    await sleep(600);
    groups.cut(1);
    const started = performance.now();
    const [a, b] = await Promise.all([all[0]!.explain(broken()), all[2]!.explain(broken())]);
    expect(String(a)).toMatch(/rank 1 \(host 1\): has not been heard from/);
    expect(String(b)).toBe(String(a));
    // Sooner than by its silence alone.
    expect(performance.now() - started).toBeLessThan(4900);
  }, 20_000);

  it("in a collective is the fault of who was about something else", async () => {
    const groups = new FakeGroups(3);
    const all = watches(groups, 4);
    all[0]!.at("in step 5");
    all[1]!.at("in step 5");
    all[2]!.at("waiting for the images of step 5");
    await sleep(300);
    const causes = await Promise.all([all[0]!.explain(broken()), all[1]!.explain(broken())]);
    for (const cause of causes) {
      expect(String(cause)).toMatch(
        /rank 2 \(host 2\): kept the others waiting: waiting for the images of step 5 for \d+\.\d s$/,
      );
    }
    expect(await failure(all[2]!, 2)).toMatch(/^rank 2 \(host 2\): kept the others waiting/);
  }, 20_000);

  it("that nobody else explains is its own", async () => {
    const groups = new FakeGroups(2);
    const all = watches(groups, 2);
    await sleep(150);
    const errors = [broken(), broken()];
    const causes = await Promise.all(all.map((watch, i) => watch.explain(errors[i])));
    // One of the two has told the other.
    expect(causes.filter((cause) => errors.includes(cause as RepkitError))).not.toEqual([]);
  }, 20_000);
});

it("what the launcher knows of a killed process is told to the other nodes", async () => {
  const groups = new FakeGroups(3);
  const all = watches(groups);
  await sleep(60);
  const killed = { rank: 2, kind: "environment", message: "was killed by SIGKILL" } as const;
  await all[1]!.report(new PeerFailure({ ...killed, where: "process 77" }));
  expect(await failure(all[0]!)).toBe("rank 2 (process 77): was killed by SIGKILL");
});
