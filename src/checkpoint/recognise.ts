/**
 * Whose weights a list of tensors is: which architecture, block and structure, and for how many
 * classes. There is no table of names: every network of the registry is built until it declares a
 * parameter that the file lacks, so what is added to the registry is recognised without further ado.
 */
import { blockType, type Structure } from "../blocks/index.js";
import { structuralHash } from "../graph/index.js";
import { architecture, architectures, buildModel, type ModelOptions } from "../zoo/index.js";
import {
  compare,
  firstDifferences,
  formatDifferences,
  type Comparison,
  type Differences,
  type Identity,
  type TensorList,
} from "./differences.js";
import { readFailure } from "./failure.js";

/** What the caller knows already; the rest is found out. */
export type Wanted = Pick<Partial<ModelOptions>, "arch" | "block" | "structure" | "numClasses">;

export interface Recognised extends Identity {
  readonly kind: "recognised";
  readonly numClasses: number;
  /**
   * Other networks with the very same state, in order of preference: the registry's order, in which
   * an architecture's own block is the first. (RepVGG and OREPA_VGG are the same once deployed.)
   */
  readonly alsoMatches: readonly AlsoMatch[];
  /** True where the file has no `num_batches_tracked` at all, as before PyTorch 0.4.1. */
  readonly withoutCounters: boolean;
}

export interface AlsoMatch extends Identity {
  /** Whether it computes the same function of that state. */
  readonly sameNetwork: boolean;
}

/** The nearest network, and every tensor that keeps the file from being one. */
export interface NearMiss extends Differences {
  readonly kind: "near-miss";
  readonly nearest: Identity & { readonly numClasses: number | undefined };
  /** Number of differing tensors. */
  readonly count: number;
}

/** Nothing in the registry has even half of these tensors. */
export interface Unknown {
  readonly kind: "unknown";
}

export type Recognition = Recognised | NearMiss | Unknown;

const STRUCTURES: readonly Structure[] = ["train", "deploy"];

/**
 * Recognises a list of tensors, among the networks that fit what is wanted.
 * @throws RepkitError "usage" where `wanted` names what does not exist
 */
export function recognise(tensors: TensorList, wanted: Wanted = {}): Recognition {
  const candidates = candidatesFor(wanted);
  const { numClasses } = wanted;
  const exact = candidates.flatMap(
    (identity) => compare(tensors, identity, { limit: 0, numClasses }) ?? [],
  );
  const [first, ...others] = exact;
  // A network without a tensor that says the number of classes would be none of a classifier.
  if (first?.numClasses !== undefined) return recognised(first, first.numClasses, others);
  return nearest(tensors, candidates, wanted);
}

/**
 * The same, or an error that explains tensor by tensor.
 * @throws RepkitError "file": `unrecognised`, or `other-model` where the tensors are those of another
 *   network than the wanted one
 */
export function requireRecognised(
  path: string,
  tensors: TensorList,
  wanted: Wanted = {},
): Recognised {
  const found = recognise(tensors, wanted);
  if (found.kind === "recognised") return found;
  const what = describeWanted(wanted);
  const other = what === "" ? found : recognise(tensors);
  if (other.kind === "recognised" && found.kind === "near-miss") {
    const problem =
      `is ${describeIdentity(other)}; you asked for ${what}, in which ` +
      firstDifferences(found, FEW);
    throw readFailure(path, "other-model", problem, facts(found, other));
  }
  throw readFailure(path, "unrecognised", explain(found, tensors), facts(found));
}

/** Why a list of tensors was not recognised, and what to do, in one line. */
export function explain(found: NearMiss | Unknown, tensors: TensorList): string {
  if (found.kind === "near-miss") {
    const { nearest, count } = found;
    return (
      `is not ${2 * count <= tensors.size ? "quite " : ""}${describeIdentity(nearest)} (${count} ` +
      `${count === 1 ? "tensor differs" : "tensors differ"}); save the whole state dict of the ` +
      `network and nothing else: ${formatDifferences(found)}`
    );
  }
  const [first] = tensors.values();
  const start =
    first === undefined
      ? "it has none"
      : `${tensors.size}, the first is ${first.name.slice(0, 100)}`;
  return `its tensors (${start}) are of no architecture that repkit knows; see repkit list`;
}

/** `a deployed RepVGG-A1 x RepVGG with 1000 classes`. */
export function describeIdentity(
  identity: Identity & { readonly numClasses?: number | undefined },
): string {
  const { arch, block, structure, numClasses } = identity;
  const kind = structure === "train" ? "training" : "deployed";
  const classes =
    numClasses === undefined ? "" : ` with ${numClasses} class${numClasses === 1 ? "" : "es"}`;
  return `a ${kind} ${arch} x ${block}${classes}`;
}

/** `RepVGG-A0 x RepVGG, the deployed structure, 10 classes`, of what is given. */
export function describeWanted({ arch, block, structure, numClasses }: Wanted): string {
  const names = [arch, block].filter((name) => name !== undefined).join(" x ");
  const parts = [
    names,
    structure === undefined
      ? ""
      : structure === "train"
        ? "the training structure"
        : "the deployed structure",
    numClasses === undefined ? "" : `${numClasses} class${numClasses === 1 ? "" : "es"}`,
  ];
  return parts.filter((part) => part !== "").join(", ");
}

const FEW = 3; // differences that show which of two networks it is

/** In order of preference. */
function candidatesFor({ arch, block, structure }: Wanted): readonly Identity[] {
  if (arch !== undefined) architecture(arch);
  if (block !== undefined) blockType(block);
  const found = architectures
    .filter(({ name }) => arch === undefined || name === arch)
    .flatMap(({ name, blocks }) => blocks.map((each) => ({ arch: name, block: each })))
    .filter((pair) => block === undefined || pair.block === block)
    .flatMap((pair) => STRUCTURES.map((each) => ({ ...pair, structure: each })))
    .filter((identity) => structure === undefined || identity.structure === structure);
  // A pair that is not listed: the registry says so, with the nearest one.
  if (found.length === 0) buildModel({ arch: arch ?? "", block: block ?? "" });
  return found;
}

function recognised(
  first: Comparison,
  numClasses: number,
  others: readonly Comparison[],
): Recognised {
  const hash = others.length === 0 ? "" : structuralHash(first.probe.graph);
  return {
    kind: "recognised",
    ...first.identity,
    numClasses,
    alsoMatches: others.map(({ identity, probe }) => ({
      ...identity,
      sameNetwork: structuralHash(probe.graph) === hash,
    })),
    withoutCounters: first.withoutCounters,
  };
}

/**
 * The candidate with the fewest differences. Limits grow, so that a file that is nearly right costs
 * little; one of a wholly different network is given up at half of its tensors, unless the caller
 * asked for something in particular.
 */
function nearest(
  tensors: TensorList,
  candidates: readonly Identity[],
  wanted: Wanted,
): NearMiss | Unknown {
  const { numClasses } = wanted;
  const last = describeWanted(wanted) === "" ? Math.floor(tensors.size / 2) : Infinity;
  for (const limit of [4, 32, last]) {
    let best: Comparison | undefined;
    for (const identity of candidates) {
      const bound = Math.min(limit, last, (best?.count ?? Infinity) - 1);
      best = compare(tensors, identity, { limit: bound, numClasses }) ?? best;
    }
    if (best === undefined) continue;
    const { identity, missing, mismatched, unexpected, count } = best;
    return {
      kind: "near-miss",
      nearest: { ...identity, numClasses: best.numClasses },
      ...{ missing, mismatched, unexpected, count },
    };
  }
  return { kind: "unknown" };
}

/** For programs: the names of everything that differs. */
function facts(found: NearMiss | Unknown, other?: Recognised): Readonly<Record<string, unknown>> {
  if (found.kind === "unknown") return {};
  const names = (tensors: readonly { readonly name: string }[]) => tensors.map(({ name }) => name);
  return {
    nearest: found.nearest,
    missing: names(found.missing),
    unexpected: names(found.unexpected),
    mismatched: names(found.mismatched),
    ...(other === undefined ? {} : { recognised: pick(other) }),
  };
}

function pick({ arch, block, structure, numClasses }: Recognised) {
  return { arch, block, structure, numClasses };
}
