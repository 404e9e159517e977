/**
 * How the tensors of a file differ from the state of a network, found while the network is being
 * built, so that one that differs too much is not built to its end.
 */
import { formatShape, sameShape, type ParamOp } from "../graph/index.js";
import { buildModel, MAX_CLASSES, type Model, type ModelOptions } from "../zoo/index.js";
import type { StoredDType, TensorInfo } from "./container.js";

/** Tensors by name, as a file lists them. */
export type TensorList = ReadonlyMap<string, TensorInfo>;

/** A network of the registry, but for its number of classes. */
export type Identity = Required<Pick<ModelOptions, "arch" | "block" | "structure">>;

/** An extent of a shape, or the number of classes where nothing says how many there are. */
export type ExpectedShape = readonly (number | "classes")[];

export interface MissingTensor {
  readonly name: string;
  readonly expected: ExpectedShape;
}

export interface MismatchedTensor extends MissingTensor {
  readonly found: readonly number[];
  /** The stored type, where it is integers instead of floats. */
  readonly dtype?: StoredDType | undefined;
}

export interface Differences {
  /** In state-dict order. */
  readonly missing: readonly MissingTensor[];
  readonly mismatched: readonly MismatchedTensor[];
  /** In the order of the file. */
  readonly unexpected: readonly TensorInfo[];
}

export interface Comparison extends Differences {
  readonly identity: Identity;
  /** Number of differences. */
  readonly count: number;
  /** Undefined where no tensor says it. */
  readonly numClasses: number | undefined;
  /** True where the file has no `num_batches_tracked` at all and the network has. */
  readonly withoutCounters: boolean;
  /** The network, built for `CLASSES_PROBE` classes: it tells functions apart, nothing else. */
  readonly probe: Model;
}

/**
 * Networks are built for this number of classes, a prime that is no other extent of any network:
 * where it appears in a shape, the file says how many classes there are.
 */
const CLASSES_PROBE = 499_979;

const INTEGERS: ReadonlySet<StoredDType> = new Set(["I64", "I32", "I16", "I8", "U8", "BOOL"]);

/**
 * Compares, or gives up (undefined) at the first difference beyond `limit`.
 *
 * NOTE: files from before PyTorch 0.4.1 have no `num_batches_tracked`. To lack them all is therefore
 * no difference; to lack some is.
 */
export function compare(
  tensors: TensorList,
  identity: Identity,
  options: { readonly limit: number; readonly numClasses?: number | undefined },
): Comparison | undefined {
  const matcher = new Matcher(tensors, options);
  try {
    const onParameter = (parameter: ParamOp): void => matcher.match(parameter);
    const probe = buildModel({ ...identity, numClasses: CLASSES_PROBE }, { onParameter });
    return { identity, probe, ...matcher.finish() };
  } catch (error) {
    if (error === ENOUGH) return undefined;
    throw error;
  }
}

/** Thrown to leave a network half built; made once because it is thrown hundreds of times. */
const ENOUGH = new Error("too many differences");

class Matcher {
  readonly #tensors: TensorList;
  readonly #limit: number;
  readonly #declared = new Set<string>();
  readonly #missing: MissingTensor[] = [];
  readonly #missingCounters: MissingTensor[] = [];
  readonly #mismatched: MismatchedTensor[] = [];
  #counters = 0;
  #numClasses: number | undefined;

  constructor(tensors: TensorList, options: { limit: number; numClasses?: number | undefined }) {
    this.#tensors = tensors;
    this.#limit = options.limit;
    this.#numClasses = options.numClasses;
  }

  match({ name, shape, dtype }: ParamOp): void {
    this.#declared.add(name);
    const isCounter = dtype === "i64";
    if (isCounter) this.#counters++;
    const found = this.#tensors.get(name);
    if (found === undefined) {
      const list = isCounter ? this.#missingCounters : this.#missing;
      list.push({ name, expected: this.#expected(shape) });
    } else {
      const expected = this.#expected(shape, found.shape);
      const wrongType = !isCounter && INTEGERS.has(found.dtype) ? found.dtype : undefined;
      if (wrongType !== undefined || !sameShape(expected as readonly number[], found.shape)) {
        this.#mismatched.push({ name, expected, found: found.shape, dtype: wrongType });
      }
    }
    this.#stopBeyondLimit(this.#missing.length + this.#mismatched.length);
  }

  finish(): Omit<Comparison, "identity" | "probe"> {
    const lacked = this.#missingCounters.length;
    const withoutCounters = lacked > 0 && lacked === this.#counters;
    const missing = withoutCounters ? this.#missing : [...this.#missing, ...this.#missingCounters];
    const mismatched = this.#mismatched;
    const unexpected = [...this.#tensors.values()].filter(({ name }) => !this.#declared.has(name));
    const count = missing.length + mismatched.length + unexpected.length;
    this.#stopBeyondLimit(count);
    const numClasses = this.#numClasses;
    return { missing, mismatched, unexpected, count, numClasses, withoutCounters };
  }

  /** The shape with the number of classes in it, which the first head found decides. */
  #expected(shape: readonly number[], found?: readonly number[]): ExpectedShape {
    const axis = shape.indexOf(CLASSES_PROBE);
    if (axis < 0) return shape;
    const extent = found?.length === shape.length ? found[axis]! : 0;
    if (extent >= 1 && extent <= MAX_CLASSES) this.#numClasses ??= extent;
    const classes = this.#numClasses ?? "classes";
    return shape.map((length) => (length === CLASSES_PROBE ? classes : length));
  }

  #stopBeyondLimit(count: number): void {
    if (count > this.#limit) throw ENOUGH;
  }
}

const SHOWN = 5; // tensors of a kind
const SHOWN_NAME = 100; // characters

/** `2 of another shape: a (64,64,3,3) instead of (48,48,3,3); ...; 1 missing: c (64)`. */
export function formatDifferences(differences: Differences, shown = SHOWN): string {
  const { mismatched, missing, unexpected } = differences;
  const groups = [
    list("of another shape", mismatched.map(formatMismatch), shown),
    list("missing", missing.map(formatMissing), shown),
    list("unexpected", unexpected.map(formatUnexpected), shown),
  ];
  return groups.filter((group) => group !== undefined).join("; ");
}

/** The first few differences, without counts. */
export function firstDifferences(differences: Differences, shown: number): string {
  const { mismatched, missing, unexpected } = differences;
  const all = [
    ...mismatched.map(formatMismatch),
    ...missing.map((tensor) => `${formatMissing(tensor)} is missing`),
    ...unexpected.map((tensor) => `${formatUnexpected(tensor)} is unexpected`),
  ];
  return abridge(all, shown);
}

function list(kind: string, tensors: readonly string[], shown: number): string | undefined {
  if (tensors.length === 0) return undefined;
  return `${tensors.length} ${kind}: ${abridge(tensors, shown)}`;
}

function abridge(items: readonly string[], shown: number): string {
  const rest = items.length - shown;
  const first = items.slice(0, shown).join(", ");
  return rest > 0 ? `${first} and ${rest} more` : first;
}

function formatMismatch({ name, expected, found, dtype }: MismatchedTensor): string {
  const stored = dtype === undefined ? "" : `${dtype} `;
  return `${short(name)} is ${stored}${formatShape(found)} instead of ${formatExpected(expected)}`;
}

function formatMissing({ name, expected }: MissingTensor): string {
  return `${short(name)} ${formatExpected(expected)}`;
}

function formatUnexpected({ name, shape }: TensorInfo): string {
  return `${short(name)} ${formatShape(shape)}`;
}

function formatExpected(shape: ExpectedShape): string {
  return `(${shape.join(",")})`;
}

function short(name: string): string {
  return name.length > SHOWN_NAME ? `${name.slice(0, SHOWN_NAME)}...` : name;
}
