// Scripts that import sources and run in a process of their own.

import { mkdirSync, readdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

import { transformFileSync } from "@swc/core";

const ROOT = fileURLToPath(new URL("../../src/", import.meta.url));

/** Compiles files and folders (not theirs in turn) of src/ into `folder`, where scripts may import them. */
export function compileSources(folder: string, paths: readonly string[]): void {
  for (const path of paths.flatMap(filesOf)) {
    const { code } = transformFileSync(join(ROOT, path), {
      swcrc: false,
      jsc: { target: "es2023", parser: { syntax: "typescript" } },
    });
    const target = join(folder, path.replace(/\.ts$/, ".js"));
    mkdirSync(join(target, ".."), { recursive: true });
    writeFileSync(target, code);
  }
  writeFileSync(join(folder, "package.json"), '{"type":"module"}');
}

function filesOf(path: string): string[] {
  if (path.endsWith(".ts")) return [path];
  return readdirSync(join(ROOT, path))
    .filter((name) => name.endsWith(".ts"))
    .map((name) => `${path}/${name}`);
}
