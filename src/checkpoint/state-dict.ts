/**
 * Where in a PyTorch file the weights are, and what their names begin with.
 *
 * `torch.save` is given anything from a bare state dict to `{epoch, state_dict, optimizer, ...}`. The
 * rules, in this order:
 * 1. Dictionaries of tensors under the customary keys below (also nested: `model.state_dict`). Where
 *    there are several of one network, such as `model` and `model_ema`, the customary order decides
 *    and the rest are `alternatives`; where they name different tensors, the caller has to say.
 * 2. The top level, if it holds tensors itself.
 * 3. The only dictionary of tensors under any other key that is not an optimizer's or the like.
 */
import type { RepkitError } from "../errors.js";
import { readFailure } from "./failure.js";
import { isSpecialTensorFunction } from "./pickle-globals.js";
import {
  asKind,
  type PickleDict,
  type PickledTensor,
  type PickleObject,
  type PickleValue,
} from "./pickle-values.js";
import type { PickleContent } from "./pickle.js";

/** Keys that hold weights, the likeliest first; averaged weights last. */
const CUSTOMARY_KEYS: readonly string[] = [
  ...["state_dict", "model_state_dict", "model", "model_state", "net", "network", "module"],
  ...["weights", "params", "state_dict_ema", "model_ema", "ema_state_dict", "ema"],
];

/** Keys whose tensors are never weights. */
const OTHER_KEYS = /^(?:optim|sched|lr|scaler|amp|hyper|args|config|cfg|meta|loss|metric|history)/i;

const MAX_DEPTH = 3; // keys in a row, as in `checkpoint.model.state_dict`
const PREFIXES: readonly string[] = ["module.", "_orig_mod."]; // DataParallel, torch.compile

export interface StateDict {
  /** Keys joined by dots; "" is the top. */
  readonly root: string;
  readonly dict: PickleDict;
  readonly tensors: ReadonlyMap<string, PickledTensor>;
  readonly alternatives: readonly string[];
}

interface Candidate {
  readonly root: string;
  /** Place in CUSTOMARY_KEYS, or -1. */
  readonly rank: number;
  readonly dict: PickleDict;
  readonly tensors: ReadonlyMap<string, PickledTensor>;
}

/**
 * Finds the weights.
 * @throws RepkitError "file": `not-a-checkpoint`; `unsafe-pickle` where a pickled object of an
 *   unknown class holds them; `unsupported` where the choice is the caller's or they are not dense
 */
export function findStateDict(
  path: string,
  content: PickleContent,
  options: { readonly hasTensors: boolean; readonly root?: string | undefined },
): StateDict {
  const top = asKind(content.value, "dict");
  const nested = top === undefined ? [] : collect(top);
  const topTensors = top === undefined ? undefined : namedTensors(top);
  const topCandidate: Candidate | undefined = top &&
    topTensors && { root: "", rank: -1, dict: top, tensors: topTensors };
  const all = topCandidate === undefined ? nested : [topCandidate, ...nested];

  const chosen =
    options.root === undefined
      ? choose(path, topCandidate, nested, holder(content.value) !== undefined)
      : all.find(({ root }) => root === options.root);
  if (chosen === undefined) {
    if (options.root !== undefined && all.length > 0) {
      const places = all.map(({ root }) => `"${root}"`).join(", ");
      const problem = `holds no tensors at "${options.root}"; there are some at ${places}`;
      throw readFailure(path, "not-a-checkpoint", problem);
    }
    throw nothingFound(path, content, options.hasTensors);
  }
  refuseSpecialTensors(path, chosen.dict);
  const alternatives = all.filter((other) => other !== chosen && other.rank >= 0);
  return { ...chosen, alternatives: alternatives.map(({ root }) => root) };
}

/** The longest of "module." and "_orig_mod.", each at most once, that begins every name; else "". */
export function commonPrefix(names: Iterable<string>): string {
  const all = [...names];
  if (all.length === 0) return "";
  let found = "";
  let left = [...PREFIXES];
  for (;;) {
    const next = left.find((prefix) => all.every((name) => name.startsWith(found + prefix)));
    // A name must remain.
    if (next === undefined || all.some((name) => name === found + next)) return found;
    found += next;
    left = left.filter((prefix) => prefix !== next);
  }
}

/** Dictionaries of tensors below `top`, each once, in the order of the file. */
function collect(top: PickleDict): Candidate[] {
  const found: Candidate[] = [];
  const seen = new Set<PickleDict>([top]);
  const visit = (dict: PickleDict, path: string, depth: number): void => {
    for (const [key, value] of dict.entries) {
      const inner = asKind(value, "dict");
      if (typeof key !== "string" || inner === undefined || seen.has(inner)) continue;
      if (key.length > 100 || OTHER_KEYS.test(key)) continue;
      seen.add(inner);
      const root = path === "" ? key : `${path}.${key}`;
      const tensors = namedTensors(inner);
      const rank = CUSTOMARY_KEYS.indexOf(key);
      if (tensors !== undefined) found.push({ root, rank, dict: inner, tensors });
      else if (depth < MAX_DEPTH) visit(inner, root, depth + 1);
    }
  };
  visit(top, "", 1);
  return found;
}

/**
 * The tensors of a dictionary whose keys are all names, or undefined where there are none. One of
 * only special tensors (quantized, sparse) counts too: it is refused as that later.
 */
function namedTensors(dict: PickleDict): Map<string, PickledTensor> | undefined {
  const tensors = new Map<string, PickledTensor>();
  let special = false;
  for (const [key, value] of dict.entries) {
    if (typeof key !== "string") return undefined;
    const tensor = asKind(value, "tensor");
    if (tensor !== undefined) tensors.set(key, tensor);
    else special ||= isSpecialTensor(value);
  }
  return tensors.size === 0 && !special ? undefined : tensors;
}

function isSpecialTensor(value: PickleValue): boolean {
  const object = asKind(value, "object");
  return object !== undefined && isSpecialTensorFunction(object.global);
}

function choose(
  path: string,
  top: Candidate | undefined,
  nested: readonly Candidate[],
  objectHoldsModel: boolean,
): Candidate | undefined {
  const customary = nested
    .filter(({ rank }) => rank >= 0)
    .toSorted((a, b) => a.rank - b.rank || a.root.length - b.root.length);
  if (customary.length > 0) return firstOfOneNetwork(path, customary);
  if (objectHoldsModel) return undefined;
  if (top !== undefined && nested.every(({ tensors }) => tensors.size <= top.tensors.size)) {
    return top;
  }
  return nested.length > 0 ? firstOfOneNetwork(path, nested) : undefined;
}

function firstOfOneNetwork(path: string, candidates: readonly Candidate[]): Candidate {
  const [first, ...others] = candidates as readonly [Candidate, ...Candidate[]];
  const different = others.find((other) => !sameNetwork(first, other));
  if (different === undefined) return first;
  const places = candidates.map(({ root }) => `"${root}"`).join(", ");
  throw readFailure(
    path,
    "unsupported",
    `holds different networks at ${places}; save the state dict of one of them by itself`,
    { alternatives: candidates.map(({ root }) => root) },
  );
}

/** Whether at least half of the smaller one's names are in the other, prefixes aside. */
function sameNetwork(a: Candidate, b: Candidate): boolean {
  const names = new Set(Array.from(a.tensors.keys(), bareName));
  const shared = Array.from(b.tensors.keys()).filter((name) => names.has(bareName(name)));
  return 2 * shared.length >= Math.min(a.tensors.size, b.tensors.size);
}

function bareName(name: string): string {
  return PREFIXES.reduce((rest, p) => (rest.startsWith(p) ? rest.slice(p.length) : rest), name);
}

/** The inert object that stands where a model is expected: at the top or under a customary key. */
function holder(value: PickleValue): PickleObject | undefined {
  const entries = asKind(value, "dict")?.entries;
  const places = [value, ...CUSTOMARY_KEYS.map((key) => entries?.get(key))];
  return places.map((place) => asKind(place, "object")).find((object) => object !== undefined);
}

function nothingFound(path: string, content: PickleContent, hasTensors: boolean): RepkitError {
  if (!hasTensors) {
    return readFailure(path, "not-a-checkpoint", "a PyTorch file, but there are no tensors in it");
  }
  const object = holder(content.value);
  if (object !== undefined && isSpecialTensor(object)) {
    return readFailure(path, "unsupported", `holds a tensor that is not dense (${object.global})`);
  }
  if (object !== undefined || content.inertGlobals.length > 0) {
    const name = object?.global ?? content.inertGlobals[0];
    return readFailure(
      path,
      "unsafe-pickle",
      `refused: it holds a pickled object (${name}) instead of named tensors, and loading one ` +
        "means running its code; save model.state_dict() with PyTorch and use that file",
      { globals: content.globals },
    );
  }
  const problem = "a PyTorch file with tensors, but without a dictionary that names them";
  return readFailure(path, "not-a-checkpoint", problem);
}

/** Quantized and sparse tensors were kept as inert data; they must not go missing silently. */
function refuseSpecialTensors(path: string, dict: PickleDict): void {
  for (const [name, value] of dict.entries) {
    const object = asKind(value, "object");
    if (object === undefined || !isSpecialTensor(object)) continue;
    const what = object.global.replace("torch._utils._rebuild_", "");
    const problem = `tensor ${typeof name === "string" ? name : "?"} is not a dense tensor (${what})`;
    throw readFailure(path, "unsupported", problem, { tensor: name });
  }
}
