// The reference's networks on WebAssembly: a few, or all; node/ has those of tfjs-node.

import type { TfjsEngine } from "../../../src/engine/tfjs/engine.js";
import { describeTfjs } from "../../helpers/tfjs-engine.js";
import { loadTorchEngine } from "../../helpers/torch-engine.js";
import { describeEvaluation } from "../conformance/evaluation.js";
import { ALL } from "../conformance/selection.js";
import type { Subject } from "../conformance/subject.js";
import { describeTraining } from "../conformance/training.js";

/** One of each family, the lightest: what differs between backends shows in any of them. */
const EVALUATED = ["dbb__MobileNet__DBB", "orepa__ResNet-18__OREPA", "repvgg__RepVGG-A0__RepVGG"];
/** Without the steps of SGD, which fp64 on torch leads: they take longer than all the rest. */
const TRAINED = ["dbb__ResNet-18__DBB"];

/** Steps in fp32 are led by as many in fp64, which TensorFlow.js does not have. */
const torch = loadTorchEngine();

await describeTfjs("tfjs:wasm networks", "wasm", (engine: TfjsEngine) => {
  const subject: Subject = { engine, precision: "fp32" };
  describeEvaluation(subject, ...(ALL ? [] : [EVALUATED]));
  if (torch === undefined) return;
  const exact = { ...subject, exactEngine: torch };
  describeTraining(exact, ...(ALL ? [] : [TRAINED]));
});
