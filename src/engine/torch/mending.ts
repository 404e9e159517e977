/** The commands that give a machine what it lacks. */
import { existsSync, readFileSync } from "node:fs";

/** The command that builds the addon. */
export const BUILD_COMMAND = "repkit build torch";

/** Installs Debian packages, where that is how this machine installs. */
export function aptInstall(packages: string): string | undefined {
  if (!existsSync("/usr/bin/apt-get")) return undefined;
  return `${process.getuid?.() === 0 ? "" : "sudo "}apt-get install ${packages}`;
}

export function installCompiler(): string {
  if (process.platform === "darwin") return "xcode-select --install";
  return aptInstall("g++") ?? "install g++ with the system's package manager";
}

/** Debian has a libtorch that is new enough; everywhere else PyTorch's own wheel is. */
export function installLibrary(): string {
  const debian = /^ID=debian$/m.test(readIfThere("/etc/os-release"));
  return (debian ? aptInstall("libtorch-dev") : undefined) ?? "python3 -m pip install torch";
}

function readIfThere(file: string): string {
  return existsSync(file) ? readFileSync(file, "utf8") : "";
}
