/** Where libraries lie, and which files are the same. */
import { existsSync, realpathSync } from "node:fs";
import { join } from "node:path";

const EXTENSION = process.platform === "darwin" ? "dylib" : "so";

/** Debian's name for folders of this machine's libraries and headers. */
export const TRIPLET = `${{ x64: "x86_64", arm64: "aarch64" }[process.arch as string] ?? process.arch}-linux-gnu`;

/** `libtorch_cpu.so`, or what this system calls it. */
export function libraryFile(name: string): string {
  return `lib${name}.${EXTENSION}`;
}

/** The folder under `root` that holds the library of that name. */
export function libraryDirOf(root: string, name: string): string | undefined {
  return ["lib", join("lib", TRIPLET), "lib64"]
    .map((folder) => join(root, folder))
    .find((folder) => existsSync(join(folder, libraryFile(name))));
}

/** The same file, whichever way leads there. */
export function isSamePath(a: string, b: string): boolean {
  return realPath(a) === realPath(b);
}

export function realPath(path: string): string {
  return existsSync(path) ? realpathSync(path) : path;
}
