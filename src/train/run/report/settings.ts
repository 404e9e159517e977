/** The report's table of settings. */

const MAX_TEXT = 300; // characters: a list of a thousand class names is cut off

/** Nested settings by dotted names, such as `optimizer.momentum`. */
export function settingRows(
  settings: Readonly<Record<string, unknown>>,
  prefix = "",
): (readonly [name: string, value: string])[] {
  return Object.entries(settings).flatMap(([key, value]) => {
    const name = prefix + key;
    if (typeof value === "object" && value !== null && !Array.isArray(value)) {
      return settingRows(value as Readonly<Record<string, unknown>>, `${name}.`);
    }
    return value === undefined ? [] : [[name, shortened(textOf(value))] as const];
  });
}

function textOf(value: unknown): string {
  return typeof value === "string" ? value : JSON.stringify(value);
}

function shortened(text: string): string {
  return text.length > MAX_TEXT ? `${text.slice(0, MAX_TEXT)}…` : text;
}
