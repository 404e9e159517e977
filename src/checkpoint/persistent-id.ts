/** The references of a PyTorch pickle to what lies outside it. */
import { storageDType } from "./pickle-calls.js";
import {
  asKind,
  asNatural,
  type PickledStorage,
  type PickleGlobal,
  type PickleValue,
} from "./pickle-values.js";

/**
 * `("storage", type, key, location, elements, view?)`, where old files may view a part of another
 * storage; or `("module", class, source file, source)`, by which old files attached the source code
 * of pickled modules, of which only the name is kept. Undefined for anything else.
 */
export function readStorageId(id: PickleValue): PickledStorage | PickleGlobal | undefined {
  const items = asKind(id, "tuple")?.items;
  if (items === undefined) return undefined;
  const [what, type, key, , count, view] = items;
  const global = asKind(type, "global");
  if (what === "module") return global;
  const dtype = global && storageDType(global.name);
  const elements = asNatural(count);
  if (what !== "storage" || dtype === undefined || typeof key !== "string") return undefined;
  if (elements === undefined) return undefined;
  if (view === undefined || view === null) {
    return { kind: "storage", dtype, key, elements, viewOffset: 0, viewElements: elements };
  }
  const [, offset, size] = asKind(view, "tuple")?.items ?? [];
  const viewOffset = asNatural(offset);
  const viewElements = asNatural(size);
  if (viewOffset === undefined || viewElements === undefined) return undefined;
  return { kind: "storage", dtype, key, elements, viewOffset, viewElements };
}
