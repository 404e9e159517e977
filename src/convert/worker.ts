/** A worker thread of convert: opens the weights file itself and folds the groups it is told to. */
import { parentPort, workerData } from "node:worker_threads";

import { openTensorFile } from "../checkpoint/index.js";
import { RepkitError } from "../errors.js";
import { GroupFolder, type GroupsToFold } from "./groups.js";

export interface WorkerJob extends GroupsToFold {
  readonly path: string;
  /** Where in the file the state dict is. */
  readonly root: string;
}

/** What a worker answers: a result, or the parts of an error that survive the journey. */
export interface WorkerFailure {
  readonly failed: { readonly kind: RepkitError["kind"]; readonly message: string };
}

const port = parentPort;
if (port !== null) {
  const job = workerData as WorkerJob;
  let folder: GroupFolder | undefined;
  port.on("message", (index: number) => {
    try {
      folder ??= new GroupFolder(job, openTensorFile(job.path, { root: job.root }));
      const result = folder.fold(index);
      const buffers = [result.weight.buffer, result.bias?.buffer].filter((b) => b !== undefined);
      port.postMessage(result, buffers as ArrayBuffer[]);
    } catch (error) {
      const kind = error instanceof RepkitError ? error.kind : "internal";
      const message = error instanceof Error ? error.message : String(error);
      port.postMessage({ failed: { kind, message } } satisfies WorkerFailure);
    }
  });
}
