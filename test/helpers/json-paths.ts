// Every place of a JSON document, and copies of it that differ in one place.

export type Json = null | boolean | number | string | Json[] | { [key: string]: Json };

export interface Place {
  /** `graph.nodes[3].op.kind` for the document called `graph`. */
  readonly path: string;
  readonly keys: readonly (string | number)[];
  readonly value: Json;
}

/** The document itself and everything in it. */
export function places(root: string, document: Json): readonly Place[] {
  const found: Place[] = [];
  const walk = (value: Json, path: string, keys: readonly (string | number)[]) => {
    found.push({ path, keys, value });
    if (Array.isArray(value)) {
      value.forEach((item, index) => {
        walk(item, `${path}[${index}]`, [...keys, index]);
      });
    } else if (typeof value === "object" && value !== null) {
      for (const [key, item] of Object.entries(value)) walk(item, `${path}.${key}`, [...keys, key]);
    }
  };
  walk(document, root, []);
  return found;
}

/** A copy in which `edit` has changed what holds the place; of the document itself, `[document]`. */
function edited(
  document: Json,
  { keys }: Place,
  edit: (holder: Record<string | number, Json>, key: string | number) => void,
): Json {
  const box: Json[] = [structuredClone(document)];
  let holder = box as unknown as Record<string | number, Json>;
  const all = [0, ...keys];
  for (const key of all.slice(0, -1)) holder = holder[key] as Record<string | number, Json>;
  edit(holder, all.at(-1)!);
  return box[0] ?? null;
}

export function replaced(document: Json, place: Place, value: Json): Json {
  return edited(document, place, (holder, key) => {
    holder[key] = value;
  });
}

/** Without the place: a key is deleted, an item leaves no gap. */
export function without(document: Json, place: Place): Json {
  return edited(document, place, (holder, key) => {
    if (Array.isArray(holder)) holder.splice(Number(key), 1);
    else delete holder[key];
  });
}

export function isObject(value: Json): value is { [key: string]: Json } {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
