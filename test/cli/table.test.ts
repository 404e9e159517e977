// Tables and counts for people.

import { describe, expect, it } from "@jest/globals";

import { formatCount, formatTable } from "../../src/cli/table.js";

describe("formatTable", () => {
  it("aligns columns two spaces apart, numbers at their end, without trailing spaces", () => {
    const table = formatTable(
      [{ title: "LAYER" }, { title: "PARAMS", align: "right" }, { title: "NOTE" }],
      [
        ["stage0", "9.54 k", "a stem"],
        ["linear", "513.00 k", ""],
      ],
    );
    expect(table).toBe(
      ["LAYER     PARAMS  NOTE", "stage0    9.54 k  a stem", "linear  513.00 k", ""].join("\n"),
    );
  });

  it("counts characters, not code units", () => {
    expect(
      formatTable(
        [{ title: "A" }, { title: "B" }],
        [
          ["3→64", "x"],
          ["𝟛", "y"],
        ],
      ),
    ).toBe(["A     B", "3→64  x", "𝟛     y", ""].join("\n"));
  });

  it("leaves missing cells empty, and shows titles alone where there are no rows", () => {
    expect(formatTable([{ title: "A" }, { title: "B" }], [["1"]])).toBe("A  B\n1\n");
    expect(formatTable([{ title: "A" }, { title: "B", align: "right" }], [])).toBe("A  B\n");
  });
});

describe("formatCount", () => {
  it.each([
    [0, "0"],
    [999, "999"],
    [1000, "1.00 k"],
    [9540, "9.54 k"],
    [11_689_512, "11.69 M"],
    [1_814_073_344, "1.81 G"],
    [5_679_000_000_000, "5679.00 G"],
  ])("%i is %s", (value, text) => {
    expect(formatCount(value)).toBe(text);
  });

  it.each([
    [999_994, "999.99 k"],
    [999_995, "1.00 M"],
    [999_999, "1.00 M"],
    [999_999_999, "1.00 G"],
  ])("%i, which rounds up to the next unit, is %s", (value, text) => {
    expect(formatCount(value)).toBe(text);
  });
});
