/** A worker thread of convert: opens the weights file itself and folds the groups it is told to. */
import { parentPort } from "node:worker_threads";

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
  let folder: GroupFolder | undefined;
  port.on("message", (message: WorkerJob | number) => {
    try {
      if (typeof message === "object") {
        folder = new GroupFolder(message, openTensorFile(message.path, { root: message.root }));
        return;
      }
      if (folder === undefined) throw new RepkitError("internal", "a group before its model");
      const result = folder.fold(message);
      const buffers = [result.weight.buffer, result.bias?.buffer].filter((b) => b !== undefined);
      port.postMessage(result, buffers as ArrayBuffer[]);
    } catch (error) {
      const kind = error instanceof RepkitError ? error.kind : "internal";
      const message = error instanceof Error ? error.message : String(error);
      port.postMessage({ failed: { kind, message } } satisfies WorkerFailure);
    }
  });
}
