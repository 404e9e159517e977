/** A worker thread of the loader: does the tasks that it is sent, in order. */
import { parentPort, workerData } from "node:worker_threads";

import { ImageTasks, type Task, type TaskContext } from "./image-tasks.js";
import { jpegAddon } from "./jpeg/addon.js";
import type { BadImage } from "./types.js";

/** To a worker: a task, or nothing more. */
export type WorkerOrder = { readonly id: number; readonly task: Task } | "stop";

/** From a worker: the answer to the task of that number. */
export type WorkerAnswer =
  | { readonly id: number; readonly bad: readonly BadImage[] }
  | { readonly id: number; readonly failed: string };

const port = parentPort;
if (port !== null) {
  const tasks = new ImageTasks(workerData as TaskContext, jpegAddon());
  const answer = async (id: number, task: Task): Promise<WorkerAnswer> => {
    try {
      return { id, bad: await tasks.run(task) };
    } catch (error) {
      return {
        id,
        failed: error instanceof Error ? (error.stack ?? error.message) : String(error),
      };
    }
  };
  let isStopping = false;
  let last: Promise<unknown> = Promise.resolve();
  port.on("message", (order: WorkerOrder) => {
    if (order === "stop") {
      isStopping = true;
      port.close();
      return;
    }
    last = last.then(async () => {
      if (!isStopping) port.postMessage(await answer(order.id, order.task));
    });
  });
}
