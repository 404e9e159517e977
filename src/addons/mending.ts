/** The commands that give a machine what it lacks. */
import { existsSync } from "node:fs";

/** Installs Debian packages, where that is how this machine installs. */
export function aptInstall(packages: string): string | undefined {
  if (!existsSync("/usr/bin/apt-get")) return undefined;
  return `${process.getuid?.() === 0 ? "" : "sudo "}apt-get install ${packages}`;
}

export function installCompiler(): string {
  if (process.platform === "darwin") return "xcode-select --install";
  return aptInstall("g++") ?? "install g++ with the system's package manager";
}
