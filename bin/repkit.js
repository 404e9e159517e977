#!/usr/bin/env node
// Starts the command line, after making sure that it can run at all.

import { existsSync } from "node:fs";

const oldest = { major: 20, minor: 19 }; // as "engines" in package.json
const [major, minor] = process.versions.node.split(".").map(Number);
const entry = new URL("../dist/cli/main.js", import.meta.url);

if (major < oldest.major || (major === oldest.major && minor < oldest.minor)) {
  process.stderr.write(
    `repkit needs Node ${oldest.major}.${oldest.minor} or newer; this is ${process.versions.node}.\n`,
  );
  process.exitCode = 7;
} else if (!existsSync(entry)) {
  process.stderr.write("repkit is not built: run `npm run build` in its folder.\n");
  process.exitCode = 7;
} else {
  const { main } = await import(entry.href);
  process.exitCode = await main(process.argv.slice(2));
}
