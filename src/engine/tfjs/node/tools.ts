/** Runs pip and npm: their output matters only when they fail. */
import { spawn } from "node:child_process";

export interface ToolFailure {
  /** The line that says what went wrong. */
  readonly reason: string;
  readonly output: string;
}

/** Runs a program; undefined when it ended well. It ends with this process. */
export async function runTool(
  program: string,
  args: readonly string[],
  folder: string,
  env: NodeJS.ProcessEnv,
): Promise<ToolFailure | undefined> {
  const child = spawn(program, args, { cwd: folder, env, stdio: ["ignore", "pipe", "pipe"] });
  const stop = () => child.kill();
  process.once("exit", stop);
  let output = "";
  child.stdout.on("data", (piece: Buffer) => (output += piece.toString()));
  child.stderr.on("data", (piece: Buffer) => (output += piece.toString()));
  try {
    const ended = await new Promise<string | undefined>((resolve) => {
      child.once("error", (error: NodeJS.ErrnoException) => {
        resolve(error.code === "ENOENT" ? `${program} is not installed` : error.message);
      });
      child.once("close", (code, signal) => {
        if (code === 0) resolve(undefined);
        else resolve(signal === null ? `${program} ended with code ${code}` : `ended by ${signal}`);
      });
    });
    return ended === undefined ? undefined : { reason: tellingLine(output) ?? ended, output };
  } finally {
    process.off("exit", stop);
  }
}

/** pip's and npm's own account, else the last line (of a Python traceback). */
function tellingLine(output: string): string | undefined {
  const lines = output.split("\n").filter((line) => line.trim() !== "");
  const line = lines.find((one) => /^(ERROR:|npm (error|ERR!) (?!code))/.test(one)) ?? lines.at(-1);
  return line?.replace(/^(ERROR:|npm (error|ERR!))\s*/, "").trim();
}
