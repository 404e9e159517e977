// Process groups whose processes die, hang or leave: the others hear of it, and nobody waits for ever.

import { mkdirSync, mkdtempSync, realpathSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

import { afterAll, afterEach, beforeAll, expect, it, jest } from "@jest/globals";

import { freePort } from "../../helpers/process-group.js";
import { type SourceProcess, sourceProcesses } from "../../helpers/source-process.js";
import { describeTorch } from "../../helpers/torch-engine.js";

jest.setTimeout(60_000); // processes that load libtorch

const ROOT = fileURLToPath(new URL("../../../", import.meta.url));
const LIMIT = 1; // second that a collective may take

const RANK = `
  import { createInterface } from "node:readline";
  import { torchEngine } from "./engine/torch/engine.js";

  const [port, rank] = process.argv.slice(2).map(Number);
  const group = await torchEngine().connect({
    ...{ url: "tcp://127.0.0.1:" + port, rank, worldSize: 2 },
    ...{ timeoutSeconds: 30, collectiveTimeoutSeconds: ${LIMIT} },
  });
  console.log("connected");
  const commands = {
    barrier: () => group.barrier(),
    set: () => group.store.set("key", "value"),
    exit: () => process.exit(3),
    throw: () => process.nextTick(() => { throw new Error("on purpose"); }),
    close: () => group.close(),
  };
  createInterface({ input: process.stdin }).on("line", (line) => {
    const started = performance.now();
    Promise.resolve(commands[line]()).then(
      () => console.log("done " + line),
      (error) => console.log(error.kind, performance.now() - started < ${LIMIT} * 1000 ? "soon" : "late"),
    );
  });
`;

describeTorch("process groups that lose a process", () => {
  let root = "";
  let start: ReturnType<typeof sourceProcesses>;
  let running: SourceProcess[] = [];

  beforeAll(() => {
    root = realpathSync(mkdtempSync(join(tmpdir(), "repkit-ranks-")));
    mkdirSync(join(root, "src"));
    symlinkSync(join(ROOT, "native"), join(root, "native"));
    symlinkSync(join(ROOT, "package.json"), join(root, "package.json"));
    writeFileSync(join(root, "src", "nothing"), "");
    const parts = ["errors.ts", "engine", "graph", "linalg", "addons", "util"];
    start = sourceProcesses(join(root, "src"), parts);
  });
  afterEach(async () => {
    await Promise.all(running.map((one) => one.kill()));
    running = [];
  });
  afterAll(() => {
    rmSync(root, { recursive: true, force: true });
  });

  async function two(): Promise<[SourceProcess, SourceProcess]> {
    const port = String(await freePort());
    const ranks: [SourceProcess, SourceProcess] = [start(RANK, port, "0"), start(RANK, port, "1")];
    running = [...ranks];
    for (const rank of ranks) expect(await rank.line()).toBe("connected");
    return ranks;
  }

  it.each([0, 1])("rank %d is killed: the other's collective fails at once", async (victim) => {
    const ranks = await two();
    const survivor = ranks[1 - victim]!;
    survivor.send("barrier");
    await ranks[victim]!.kill();
    expect(await survivor.line()).toBe("environment soon");
    if (victim === 0) {
      survivor.send("set");
      expect(await survivor.line()).toBe("environment soon");
    }
    expect(await survivor.end()).toBe(0);
  });

  it("a rank that hangs is given up after the time given", async () => {
    const [first, second] = await two();
    second.signal("SIGSTOP");
    first.send("barrier");
    expect(await first.line()).toBe("environment late");
    first.send("barrier");
    expect(await first.line()).toBe("environment soon");
    expect(await first.end()).toBe(0);
  });

  it.each([
    ["exit", 3],
    ["throw", 1],
    ["close", 0],
  ])("%s ends a process whose collective waits, with code %d", async (how, code) => {
    const [first] = await two();
    first.send("barrier");
    first.send(how);
    expect(await first.end()).toBe(code);
  });
});
