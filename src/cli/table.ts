/** Tables and numbers for people. */

export interface Column {
  readonly title: string;
  /** Numbers read best aligned at their end. */
  readonly align?: "left" | "right";
}

/** Columns two spaces apart under their titles, without trailing spaces; one line per row. */
export function formatTable(
  columns: readonly Column[],
  rows: readonly (readonly string[])[],
): string {
  const lines = [columns.map(({ title }) => title), ...rows];
  const widths = columns.map((_, index) =>
    Math.max(...lines.map((line) => [...(line[index] ?? "")].length)),
  );
  const format = (line: readonly string[]) =>
    columns
      .map(({ align = "left" }, index) => {
        const cell = line[index] ?? "";
        const space = " ".repeat(Math.max(0, (widths[index] ?? 0) - [...cell].length));
        return align === "left" ? cell + space : space + cell;
      })
      .join("  ")
      .trimEnd();
  return lines.map((line) => `${format(line)}\n`).join("");
}

/** 11689512 → `11.69 M`; three or four digits are enough to compare models. */
export function formatCount(value: number): string {
  if (value < 1e3) return String(value);
  // Rounded first: 999999 is 1.00 M, not 1000.00 k.
  const thousands = (value / 1e3).toFixed(2);
  if (Number(thousands) < 1e3) return `${thousands} k`;
  const millions = (value / 1e6).toFixed(2);
  return Number(millions) < 1e3 ? `${millions} M` : `${(value / 1e9).toFixed(2)} G`;
}

/** 31476788 → `31.48 MB`; below a thousand, `512 bytes`. */
export function formatBytes(bytes: number): string {
  return bytes < 1000 ? `${bytes} bytes` : `${formatCount(bytes)}B`;
}
