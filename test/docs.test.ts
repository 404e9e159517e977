// The documentation's links, its index, and the messages that it explains.

import { existsSync, readdirSync, readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

import { describe, expect, it } from "@jest/globals";

const ROOT = fileURLToPath(new URL("..", import.meta.url));
const read = (path: string) => readFileSync(join(ROOT, path), "utf8");
const pages = readdirSync(join(ROOT, "docs")).filter((name) => name.endsWith(".md"));
const withLinks = ["README.md", ...pages.map((name) => `docs/${name}`)];

/** Markdown without its code, in which brackets mean something else. */
const prose = (text: string) => text.replace(/^```[^]*?^```$/gm, "").replace(/`[^`\n]*`/g, "code");

/** As GitHub names headings: small letters, no punctuation, hyphens for spaces. */
const anchors = (text: string) =>
  [...text.matchAll(/^#+ (.*)$/gm)].map((heading) =>
    heading[1]!
      .toLowerCase()
      .replace(/[^\p{L}\p{N}\s_-]/gu, "")
      .replace(/\s/g, "-"),
  );

describe("links", () => {
  it.each(withLinks)("of %s lead somewhere", (page) => {
    const targets = [...prose(read(page)).matchAll(/\]\(([^)\s]+)\)/g)].map((link) => link[1]!);
    const dead = targets.filter((target) => {
      if (target.startsWith("https://")) return false;
      const [path = "", anchor] = target.split("#");
      const file = path === "" ? page : join(dirname(page), path);
      if (!existsSync(join(ROOT, file))) return true;
      return anchor !== undefined && !anchors(read(file)).includes(anchor);
    });
    expect(dead).toEqual([]);
  });

  it("README.md has some", () => {
    expect(prose(read("README.md")).match(/\]\(docs\//g)?.length).toBeGreaterThan(5);
  });
});

it("docs/README.md names every page", () => {
  const index = read("docs/README.md");
  const others = pages.filter((name) => name !== "README.md");
  expect(others.filter((name) => !index.includes(`](${name})`))).toEqual([]);
});

describe("docs/troubleshooting.md", () => {
  const rows = [...read("docs/troubleshooting.md").matchAll(/^\| `(.+?)` +\|/gm)];
  const messages = rows.map((row) => row[1]!);
  const sources = sourceFiles().map((path) => joined(read(path)));

  it("explains messages of every kind", () => {
    expect(messages.length).toBeGreaterThan(50);
    expect(new Set(messages).size).toBe(messages.length);
  });

  it.each(messages)("%s: is what a source says", (message) => {
    const parts = fragments(message);
    expect(parts.length).toBeGreaterThan(0);
    expect(sources.some((source) => parts.every((part) => source.includes(part)))).toBe(true);
  });

  it("a message that no source has would be found", () => {
    const parts = fragments("… holds a run twice (last.ckpt)");
    expect(sources.some((source) => parts.every((part) => source.includes(part)))).toBe(false);
  });
});

/** What stands between the dots that are names and numbers. */
function fragments(message: string): string[] {
  return message
    .split("…")
    .map((part) => part.trim())
    .filter((part) => /\p{L}{2}/u.test(part));
}

function sourceFiles(): string[] {
  const names = readdirSync(join(ROOT, "src"), { recursive: true, encoding: "utf8" });
  const inSource = names.filter((name) => name.endsWith(".ts")).map((name) => join("src", name));
  return [...inSource, "bin/repkit.js", "scripts/setup"];
}

/** A source whose long messages, written in pieces over several lines, are in one piece. */
function joined(source: string): string {
  return source.replace(/["`]\s*\+\s*["`]/g, "").replace(/\$\{NO_LIBTORCH\}/g, "none");
}
