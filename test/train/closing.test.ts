// Freeing what a job opened.

import { expect, it } from "@jest/globals";

import { Closing } from "../../src/train/closing.js";

function closingOf(closed: string[]): Closing {
  const closing = new Closing();
  closing.add("first", (name) => closed.push(name));
  closing.add("second", async (name) => {
    closed.push(name);
    throw new Error(`${name} fails`);
  });
  expect(closing.add("third", (name) => closed.push(name))).toBe("third");
  return closing;
}

it("closes the last first, all of them, and then tells what failed", async () => {
  const closed: string[] = [];
  await expect(closingOf(closed).close()).rejects.toThrow("second fails");
  expect(closed).toEqual(["third", "second", "first"]);
});

it("keeps quiet after a failure of the job itself", async () => {
  const closed: string[] = [];
  await closingOf(closed).closeQuietly();
  expect(closed).toEqual(["third", "second", "first"]);
});
