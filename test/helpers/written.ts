// What a command prints, kept instead of printed, from the beginning of each test.

import { afterEach, beforeEach, jest } from "@jest/globals";

/** Call it once in a file of tests. */
export function captureOutput(): { stdout: string; stderr: string } {
  const written = { stdout: "", stderr: "" };
  beforeEach(() => {
    for (const stream of ["stdout", "stderr"] as const) {
      written[stream] = "";
      jest.spyOn(process[stream], "write").mockImplementation((text) => {
        written[stream] += String(text);
        return true;
      });
    }
  });
  afterEach(() => {
    jest.restoreAllMocks();
  });
  return written;
}
