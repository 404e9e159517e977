/** The commands that give a machine the torch engine. */
import { existsSync, readFileSync } from "node:fs";

import { aptInstall } from "../../addons/mending.js";

/** The command that builds the addon. */
export const BUILD_COMMAND = "repkit build torch";

/** Debian has a libtorch that is new enough; everywhere else PyTorch's own wheel is. */
export function installLibrary(): string {
  const debian = /^ID=debian$/m.test(readIfThere("/etc/os-release"));
  return (debian ? aptInstall("libtorch-dev") : undefined) ?? "python3 -m pip install torch";
}

function readIfThere(file: string): string {
  return existsSync(file) ? readFileSync(file, "utf8") : "";
}
