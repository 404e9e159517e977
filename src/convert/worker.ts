/** A worker thread of convert: opens the weights file itself and folds the groups it is told to. */
import { parentPort, workerData } from "node:worker_threads";

import { openTensorFile, type TensorFile } from "../checkpoint/index.js";
import { RepkitError } from "../errors.js";
import { GroupFolder, type GroupsToFold } from "./groups.js";

/** Sent first, so that the file is open by the time there is work. */
export interface WorkerFile {
  readonly path: string;
  /** Where in the file the state dict is, if that has been said. */
  readonly root: string | undefined;
}

/** What a worker answers: a result, or the parts of an error that survive the journey. */
export interface WorkerFailure {
  readonly failed: { readonly kind: RepkitError["kind"]; readonly message: string };
}

const port = parentPort;
if (port !== null) {
  const { path, root } = workerData as WorkerFile;
  let folder: GroupFolder | undefined;
  let file: TensorFile | undefined;
  try {
    file = openTensorFile(path, root === undefined ? {} : { root });
  } catch {
    // The main thread meets the same error, and says it.
  }
  port.on("message", (message: GroupsToFold | number) => {
    try {
      if (typeof message === "object") {
        file ??= openTensorFile(path, root === undefined ? {} : { root });
        folder = new GroupFolder(message, file);
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
