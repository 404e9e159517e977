/** What TensorFlow reads from the environment when it starts. */

/**
 * oneDNN's kernels, which TensorFlow takes by itself only where there is AVX-512 VNNI (without them a batch
 * norm takes twice as long), products in full float32 on a GPU, and no log below errors.
 */
const SETTINGS: Readonly<Record<string, string>> = {
  TF_ENABLE_ONEDNN_OPTS: "1",
  NVIDIA_TF32_OVERRIDE: "0",
  TF_CPP_MIN_LOG_LEVEL: "2",
};

/**
 * To be called in the main thread before a thread loads TensorFlow: what a worker thread puts into its
 * `process.env` does not reach libraries. Whatever the user has set stays.
 */
export function prepareEnvironment(env: NodeJS.ProcessEnv = process.env): void {
  for (const [name, value] of Object.entries(SETTINGS)) env[name] ??= value;
}
