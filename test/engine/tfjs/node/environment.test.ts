import { expect, test } from "@jest/globals";

import { prepareEnvironment } from "../../../../src/engine/tfjs/node/environment.js";

test("what the user has set stays", () => {
  const env: NodeJS.ProcessEnv = { TF_ENABLE_ONEDNN_OPTS: "0" };
  prepareEnvironment(env);
  expect(env).toMatchObject({ TF_ENABLE_ONEDNN_OPTS: "0", TF_CPP_MIN_LOG_LEVEL: "2" });
});
