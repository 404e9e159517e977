/** A worker thread of convert: opens the weights file itself and folds the groups it is told to. */
import { parentPort, workerData } from "node:worker_threads";

import { openTensorFile, type TensorFile } from "../checkpoint/index.js";
import { RepkitError } from "../errors.js";
import { warmUp } from "../linalg/index.js";
import { useNativeSums } from "../linalg/use-native.js";
import type { ModelOptions } from "../zoo/index.js";
import { GroupFolder, type GroupsToFold } from "./groups.js";

/** Sent first, so that the file is open by the time there is work. */
export interface WorkerFile {
  readonly path: string;
  /** Where in the file the state dict is, if that has been said. */
  readonly root: string | undefined;
}

/** A group to fold, or the whole network to run as it is before folding. */
export type Task = { readonly group: number } | { readonly network: ModelOptions };

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
  // While the main thread recognises the model there is nothing else to do.
  useNativeSums();
  warmUp();
  port.on("message", (message: GroupsToFold | Task) => {
    try {
      if ("original" in message) {
        file ??= openTensorFile(path, root === undefined ? {} : { root });
        folder = new GroupFolder(message, file);
        return;
      }
      if (folder === undefined) throw new RepkitError("internal", "a task before its model");
      if ("network" in message) {
        port.postMessage({ logits: folder.logits(message.network) });
        return;
      }
      port.postMessage(folder.fold(message.group));
    } catch (error) {
      const kind = error instanceof RepkitError ? error.kind : "internal";
      const message = error instanceof Error ? error.message : String(error);
      port.postMessage({ failed: { kind, message } } satisfies WorkerFailure);
    }
  });
}
