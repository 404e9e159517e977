// The TensorFlow.js engine on its thread, which runs compiled sources.

import { mkdtempSync, symlinkSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

import { afterAll, describe } from "@jest/globals";

import type { BackendName } from "../../src/engine/tfjs/backend.js";
import { tfjsEngine, type TfjsEngine } from "../../src/engine/tfjs/engine.js";
import { RepkitError } from "../../src/errors.js";
import { compileSources } from "./compiled.js";
