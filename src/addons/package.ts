/** Where the addons' sources and the headers they compile against are, in a checkout as when installed. */
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

const ROOT = fileURLToPath(new URL("../../", import.meta.url));

/** The folder of an addon's C++ sources. */
export function addonSources(name: string): string {
  return join(ROOT, "native", name);
}

export function packageVersion(): string {
  return versionIn(join(ROOT, "package.json"));
}

/** Node-API's headers: the C interface and its C++ wrapper. */
export function nodeHeaders(): readonly string[] {
  return [nodeApiHeaders().root, packageFolder("node-addon-api")];
}

/** Node-API's C headers as a library that an addon is compiled against. */
export function nodeApiHeaders(): { readonly root: string; readonly version: string } {
  const folder = packageFolder("node-api-headers");
  return { root: join(folder, "include"), version: versionIn(join(folder, "package.json")) };
}

/** What the headers are, for a key that changes when they do. */
export function nodeHeaderVersions(): readonly string[] {
  return ["node-api-headers", "node-addon-api"].map((name) =>
    versionIn(join(packageFolder(name), "package.json")),
  );
}

function packageFolder(name: string): string {
  return dirname(createRequire(import.meta.url).resolve(`${name}/package.json`));
}

function versionIn(file: string): string {
  return (JSON.parse(readFileSync(file, "utf8")) as { version: string }).version;
}
