#!/usr/bin/env node
// Starts the command line, after making sure that it can run at all. CommonJS, as package.json here says:
// by the first line of a module Node has started libuv's threads, and their number can no longer be set.

/* global __dirname */

async function start() {
  const oldest = { major: 20, minor: 19 }; // as "engines" in package.json
  const [major, minor] = process.versions.node.split(".").map(Number);
  if (major < oldest.major || (major === oldest.major && minor < oldest.minor)) {
    process.stderr.write(
      `repkit needs Node ${oldest.major}.${oldest.minor} or newer; this is ${process.versions.node}.\n`,
    );
    return 7;
  }
  const { existsSync } = await import("node:fs");
  const { availableParallelism } = await import("node:os");
  if (!existsSync(`${__dirname}/../dist/bundle/main.js`)) {
    process.stderr.write("repkit is not built: run `npm run build` in its folder.\n");
    return 7;
  }
  // Images are decoded in these threads; four, Node's number, are too few for many workers.
  process.env.UV_THREADPOOL_SIZE ??= String(Math.max(4, availableParallelism()));
  const { main } = await import("../dist/bundle/main.js");
  return main(process.argv.slice(2));
}

process.exitCode = 1; // what counts where the process ends before the command does
start().then((code) => {
  process.exitCode = code;
});
