/** The folder of one training run: who uses it, and which of its checkpoints stay. */
import { randomBytes } from "node:crypto";
import {
  closeSync,
  copyFileSync,
  existsSync,
  fsyncSync,
  linkSync,
  lstatSync,
  openSync,
  readdirSync,
  renameSync,
  rmSync,
  statSync,
} from "node:fs";
import { hostname } from "node:os";
import { dirname, join } from "node:path";

import { usageError } from "../../errors.js";
import { writeFileAtomically } from "../../util/atomic-write.js";
import { makeFolder } from "../../util/make-folder.js";
import { lockFolder, type LockOwner } from "../../util/process-lock.js";
import { systemFailure } from "./failure.js";
import { isMomentFile, momentFile, runPaths, type Moment, type RunPaths } from "./paths.js";

export interface RunDirectory {
  readonly paths: RunPaths;
  /** Whether the process that used it last was killed. */
  readonly abandoned: boolean;
  /** Whether there is a last.ckpt to go on from. */
  hasCheckpoint(this: void): boolean;
  /** Replaces config.json: what the run was told, all of it resolved. */
  writeConfig(this: void, config: Readonly<Record<string, unknown>>): void;
  /** Makes last.ckpt the best one too. It costs nothing: both names get the same bytes. */
  markBest(this: void): void;
  /** Keeps last.ckpt under the name of its moment, then removes all but the `count` newest of these. */
  keepLast(this: void, moment: Moment, count: number): void;
  /** Lets others use the directory; also when the process exits. */
  close(this: void): void;
}

export interface RunDirectoryOptions {
  /** Go on with the run that is there, if one is. */
  readonly resume: boolean;
}

/** As src/util/atomic-write.ts names what a killed process leaves behind. */
const TEMPORARY = /^\.(repkit|lock-\d+)-[0-9a-f]{16}\.tmp$/;
/** A file that somebody writes to changes all the time. */
const TEMPORARY_AGE_MS = 60_000;
const quiet = { throwIfNoEntry: false } as const;

/**
 * Creates the folder, or takes an existing one over from a process that has ended.
 * @throws RepkitError "usage" where another process uses it, or it holds a run that is not to be
 * resumed; "file" where it cannot be written
 */
export async function openRunDirectory(
  directory: string,
  { resume }: RunDirectoryOptions,
): Promise<RunDirectory> {
  const paths = runPaths(directory);
  const lock = await locked(directory);
  const release = () => lock.release();
  try {
    if (!resume && existsSync(paths.last)) {
      throw usageError(
        `${directory} holds a run already (last.ckpt): go on with --resume auto, or choose another --tag or --out`,
      );
    }
    removeTemporaries(directory);
  } catch (error) {
    release();
    throw error;
  }
  return {
    paths,
    abandoned: lock.abandoned,
    hasCheckpoint: () => existsSync(paths.last),
    writeConfig(config) {
      const text = `${JSON.stringify(config, null, 2)}\n`;
      writeFileAtomically(paths.config, (sink) => sink.write(Buffer.from(text)));
    },
    markBest: () => nameAlso(paths.last, paths.best),
    keepLast(moment, count) {
      nameAlso(paths.last, join(directory, momentFile(moment)));
      prune(directory, count);
    },
    close: release,
  };
}

async function locked(directory: string) {
  try {
    makeFolder(directory);
    const outcome = await lockFolder(directory);
    if (outcome.kind === "locked") return outcome;
    throw usageError(inUse(directory, outcome.owner, outcome.file));
  } catch (error) {
    throw systemFailure(directory, error);
  }
}

function inUse(directory: string, owner: LockOwner, file: string): string {
  const since = `since ${owner.since.slice(0, 19).replace("T", " ")} UTC`;
  return owner.host === hostname()
    ? `${directory} is in use by process ${owner.pid} (${since}); choose another --out`
    : `${directory} is in use by process ${owner.pid} of host ${owner.host} (${since}); ` +
        `choose another --out, or remove ${file} if that process has ended`;
}

/** Gives a file a second name, in the place of what has it: a link, or a copy where there are none. */
function nameAlso(file: string, name: string): void {
  const temporary = join(dirname(name), `.repkit-${randomBytes(8).toString("hex")}.tmp`);
  try {
    try {
      linkSync(file, temporary);
    } catch {
      copyFileSync(file, temporary);
      flush(temporary);
    }
    renameSync(temporary, name);
  } catch (error) {
    throw systemFailure(name, error);
  } finally {
    // Where both names are the same file already, a rename does nothing (rename(2)).
    rmSync(temporary, { force: true });
  }
}

function flush(file: string): void {
  const descriptor = openSync(file, "r+");
  try {
    fsyncSync(descriptor);
  } finally {
    closeSync(descriptor);
  }
}

/** The newest is what was written last: a resumed run comes by the same moments again. */
function prune(directory: string, count: number): void {
  const files = readdirSync(directory)
    .filter(isMomentFile)
    .map((name) => ({ name, time: statSync(join(directory, name), { bigint: true }).mtimeNs }))
    .sort((a, b) => Number(b.time - a.time) || (a.name < b.name ? 1 : -1));
  for (const { name } of files.slice(count)) rmSync(join(directory, name), { force: true });
}

/** What processes left behind that were killed while they wrote. */
function removeTemporaries(directory: string): void {
  for (const name of readdirSync(directory)) {
    if (!TEMPORARY.test(name)) continue;
    const age = Date.now() - (lstatSync(join(directory, name), quiet)?.mtimeMs ?? Infinity);
    if (age > TEMPORARY_AGE_MS) rmSync(join(directory, name), { force: true });
  }
}
