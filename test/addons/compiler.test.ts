import { join } from "node:path";

import { describe, expect, test } from "@jest/globals";

import { diagnoseCompiler, findCompiler } from "../../src/addons/compiler.js";
import { temporaryFolder, writeProgram } from "../helpers/torch-trees.js";

const folder = temporaryFolder();

describe("the compiler", () => {
  test("that CXX names but does not run is an error", () => {
    expect(() => findCompiler({ CXX: "/no/such/g++ -m64" })).toThrow(
      "CXX: /no/such/g++ -m64 does not run",
    );
  });

  test("may have arguments in CXX", () => {
    const program = writeProgram(folder, "ccache", '#!/bin/sh\necho "$@"\n');
    expect(findCompiler({ CXX: `${program} g++` })).toEqual({
      ...{ command: program, args: ["g++"], version: "g++ --version" },
    });
  });

  test("that is missing comes with the command that installs one", () => {
    const diagnosis = diagnoseCompiler({ PATH: join(folder, "empty") });
    expect(diagnosis).toMatchObject({ problem: "no C++ compiler found (c++, g++, clang++)" });
    expect((diagnosis as { fix: string }).fix).toMatch(/g\+\+|xcode/);
  });
});
