/** Text in HTML and SVG. */

const ENTITIES: Readonly<Record<string, string>> = {
  "&": "&amp;",
  "<": "&lt;",
  ">": "&gt;",
  '"': "&quot;",
  "'": "&#39;",
};

/** Text as it is, be it in an element or in a quoted attribute. */
export function escapeHtml(text: string): string {
  return text.replace(/[&<>"']/g, (character) => ENTITIES[character] ?? character);
}

export interface TableColumn {
  readonly title: string;
  readonly isNumber?: boolean;
}

/** A table of plain text. */
export function htmlTable(
  columns: readonly TableColumn[],
  rows: readonly (readonly string[])[],
): string {
  const cell = (tag: "td" | "th", text: string, index: number) => {
    const style = columns[index]?.isNumber === true ? ' class="number"' : "";
    return `<${tag}${style}>${escapeHtml(text)}</${tag}>`;
  };
  const head = columns.map(({ title }, index) => cell("th", title, index)).join("");
  const body = rows.map(
    (row) => `<tr>${row.map((text, index) => cell("td", text, index)).join("")}</tr>\n`,
  );
  return `<table>\n<thead><tr>${head}</tr></thead>\n<tbody>\n${body.join("")}</tbody>\n</table>`;
}
