/** The engine's thread: it hosts TensorFlow.js, whose calls block whoever makes them. */
import { parentPort, workerData } from "node:worker_threads";

import { RepkitError } from "../../errors.js";
import { graphFromJson } from "../../graph/index.js";
import { loadBackend, type TfjsBackend } from "./backend.js";
import { type Answer, buffersOf, type Failure, type Request, type Start } from "./protocol.js";
import { Session } from "./session.js";

const { backend: name } = workerData as Start;
const sessions = new Map<number, Session>();

/** Calls that come while the backend is loading wait in the port. */
try {
  const backend = await loadBackend(name);
  const { version, description, devices } = backend;
  parentPort!.on("message", (request: Request) => {
    let answer: Answer;
    try {
      answer = { id: request.id, result: perform(backend, request) };
    } catch (error) {
      answer = { id: request.id, failed: asFailure(error) };
    }
    parentPort!.postMessage(answer, buffersOf(answer));
  });
  parentPort!.postMessage({ ready: { version, description, devices } } satisfies Answer);
} catch (error) {
  parentPort!.postMessage({ startFailed: asFailure(error) } satisfies Answer);
}

function perform(backend: TfjsBackend, request: Request): unknown {
  const { executable } = request;
  if (request.call === "load") {
    const [graph, state, options] = request.args;
    sessions.set(executable, new Session(backend, graphFromJson(graph), state, options));
    return undefined;
  }
  const session = sessions.get(executable);
  if (session === undefined) throw new RepkitError("internal", "the executable is disposed of");
  switch (request.call) {
    case "infer":
      return session.infer(...request.args);
    case "evaluate":
      return session.evaluate(...request.args);
    case "trainStep":
      return session.trainStep(...request.args);
    case "differentiate":
      return session.differentiate(...request.args);
    case "state":
      return session.state();
    case "restore":
      return session.restore(...request.args);
    case "memory": {
      const { numTensors, numBytes } = backend.tf.memory();
      return { tensors: numTensors, bytes: numBytes };
    }
    case "dispose":
      sessions.delete(executable);
      return session.dispose();
  }
}

function asFailure(error: unknown): Failure {
  if (error instanceof RepkitError) {
    const { kind, message, details } = error;
    return { kind, message, details };
  }
  const message = error instanceof Error ? error.message : String(error);
  const [line = ""] = message.split("\n");
  return { kind: "internal", message: `engine tfjs:${name}: ${line}`, details: {} };
}
