/**
 * A pickle reader that builds plain data and nothing else.
 *
 * It runs the stack machine of pickle protocols 0 to 5, but its "objects" are the values of
 * pickle-values.ts, its globals are names (pickle-globals.ts), and only a fixed list of harmless
 * functions has values (pickle-calls.ts). A pickle that calls anything else, or names something
 * dangerous, is read to its end, so that everything it refers to can be listed, and then refused.
 *
 * Work and memory grow linearly with the bytes read: the machine does not recurse, one opcode makes
 * at most one value, and whatever copies (`set(list)`) draws on a budget.
 */
import { RepkitError } from "../errors.js";
import { readFailure } from "./failure.js";
import { callGlobal, type CallContext } from "./pickle-calls.js";
import type { ByteCursor } from "./pickle-cursor.js";
import { classifyGlobal, globalName } from "./pickle-globals.js";
import { readDecimalIndex, readLiteral, readTextLine } from "./pickle-literals.js";
import {
  asKind,
  isComposite,
  pickleDict,
  pickleObject,
  type PickleGlobal,
  type PickleValue,
} from "./pickle-values.js";

const MAX_PROTOCOL = 5;

/** What a pickle holds. */
export interface PickleContent {
  readonly value: PickleValue;
  /** Unknown names, which became inert data, in order of appearance. */
  readonly inertGlobals: readonly string[];
  /** Every name beyond those of plain tensor data, in order of appearance. */
  readonly globals: readonly string[];
}

/** Resolves a persistent id, which in PyTorch's files stands for a storage; undefined if it is none. */
export type PersistentLoad = (id: PickleValue) => PickleValue | undefined;

/**
 * Reads one pickle; afterwards the cursor is behind it.
 * @throws RepkitError "file": `unsafe-pickle` with `details.globals`, `corrupt`, `unsupported`, or
 *   the cursor's own reason where the bytes run out
 */
export function readPickle(
  cursor: ByteCursor,
  persistentLoad: PersistentLoad = () => undefined,
): PickleContent {
  const machine = new PickleMachine(cursor, persistentLoad);
  let value: PickleValue = null;
  try {
    value = machine.run();
  } catch (error) {
    // A hostile pickle that is also broken is hostile first of all.
    if (machine.refused.size === 0 || !(error instanceof RepkitError)) throw error;
  }
  const { refused, inert, referenced } = machine;
  if (refused.size > 0) {
    const names = [...refused].join(", ");
    throw readFailure(
      cursor.path,
      "unsafe-pickle",
      `refused: its pickle wants to run ${names}; a checkpoint holds tensors and plain values only. ` +
        "Nothing was executed",
      { globals: [...referenced] },
    );
  }
  return { value, inertGlobals: [...inert], globals: [...referenced] };
}

class PickleMachine implements CallContext {
  /** Names that were called without being allowed to, or are dangerous by themselves. */
  readonly refused = new Set<string>();
  readonly inert = new Set<string>();
  readonly referenced = new Set<string>();

  readonly #cursor: ByteCursor;
  readonly #persistentLoad: PersistentLoad;
  readonly #stack: PickleValue[] = [];
  readonly #marks: number[] = [];
  readonly #memo = new Map<number, PickleValue>();
  readonly #globals = new Map<string, PickleGlobal>();
  #budget: number;

  constructor(cursor: ByteCursor, persistentLoad: PersistentLoad) {
    this.#cursor = cursor;
    this.#persistentLoad = persistentLoad;
    this.#budget = 4 * cursor.remaining + 1024;
  }

  spend(count: number): void {
    this.#budget -= count;
    if (this.#budget < 0) this.fail("it copies more than its size justifies");
  }

  fail(problem: string): never {
    throw readFailure(this.#cursor.path, "corrupt", `broken pickle: ${problem}`);
  }

  run(): PickleValue {
    for (;;) {
      const opcode = this.#cursor.byte();
      const literal = readLiteral(opcode, this.#cursor);
      if (literal !== undefined) this.#stack.push(literal);
      else if (opcode === 0x2e)
        return this.#pop(); // "."
      else this.#execute(opcode);
    }
  }

  #execute(opcode: number): void {
    const cursor = this.#cursor;
    switch (String.fromCharCode(opcode)) {
      // The machine itself.
      case "\x80": {
        const protocol = cursor.byte();
        if (protocol > MAX_PROTOCOL) this.fail(`unknown protocol ${protocol}`);
        return;
      }
      case "\x95": // frame
        cursor.take(8);
        return;
      case "(":
        this.#marks.push(this.#stack.length);
        return;
      case "0":
        if (this.#marks.at(-1) === this.#stack.length) this.#marks.pop();
        else this.#pop();
        return;
      case "1":
        this.#popToMark();
        return;
      case "2":
        this.#stack.push(this.#top());
        return;

      // The memo.
      case "p":
        this.#memo.set(readDecimalIndex(cursor), this.#top());
        return;
      case "q":
        this.#memo.set(cursor.byte(), this.#top());
        return;
      case "r":
        this.#memo.set(cursor.take(4).readUInt32LE(), this.#top());
        return;
      case "\x94":
        this.#memo.set(this.#memo.size, this.#top());
        return;
      case "g":
        this.#recall(readDecimalIndex(cursor));
        return;
      case "h":
        this.#recall(cursor.byte());
        return;
      case "j":
        this.#recall(cursor.take(4).readUInt32LE());
        return;

      // Containers.
      case ")":
        this.#stack.push({ kind: "tuple", items: [] });
        return;
      case "t":
        this.#stack.push({ kind: "tuple", items: this.#popToMark() });
        return;
      case "\x85":
      case "\x86":
      case "\x87":
        this.#stack.push({ kind: "tuple", items: this.#popMany(opcode - 0x84) });
        return;
      case "]":
        this.#stack.push({ kind: "list", items: [] });
        return;
      case "l":
        this.#stack.push({ kind: "list", items: this.#popToMark() });
        return;
      case "}":
        this.#stack.push(pickleDict());
        return;
      case "d": {
        const items = this.#popToMark();
        this.#stack.push(pickleDict());
        this.#setItems(items);
        return;
      }
      case "\x8f":
        this.#stack.push({ kind: "set", items: [] });
        return;
      case "\x91":
        this.#stack.push({ kind: "set", items: this.#popToMark() });
        return;
      case "a":
        this.#append(this.#popMany(1));
        return;
      case "e":
      case "\x90":
        this.#append(this.#popToMark());
        return;
      case "s":
        this.#setItems(this.#popMany(2));
        return;
      case "u":
        this.#setItems(this.#popToMark());
        return;

      // Names and objects.
      case "c":
        this.#pushGlobal(readTextLine(cursor), readTextLine(cursor));
        return;
      case "\x93": {
        const [module, name] = this.#popMany(2);
        if (typeof module !== "string" || typeof name !== "string")
          this.fail("a global has no name");
        this.#pushGlobal(module, name);
        return;
      }
      case "i": {
        this.#pushGlobal(readTextLine(cursor), readTextLine(cursor));
        const type = this.#pop();
        this.#stack.push(this.#instantiate(type, this.#popToMark()));
        return;
      }
      case "o": {
        const [type, ...args] = this.#popToMark();
        if (type === undefined) this.fail("an object has no class");
        this.#stack.push(this.#instantiate(type, args));
        return;
      }
      case "\x81": {
        const [type, args] = this.#popMany(2);
        this.#stack.push(this.#instantiate(type!, this.#arguments(args)));
        return;
      }
      case "\x92": {
        const [type, args] = this.#popMany(3); // keyword arguments are not kept
        this.#stack.push(this.#instantiate(type!, this.#arguments(args)));
        return;
      }
      case "R": {
        const [callable, args] = this.#popMany(2);
        this.#stack.push(this.#call(callable!, this.#arguments(args)));
        return;
      }
      case "b":
        this.#build(this.#pop());
        return;
      case "P":
        this.#pushPersistent(readTextLine(cursor));
        return;
      case "Q":
        this.#pushPersistent(this.#pop());
        return;
      case "\x82":
      case "\x83":
      case "\x84":
      case "\x97":
      case "\x98":
        throw readFailure(
          cursor.path,
          "unsupported",
          "its pickle depends on an extension registry or on buffers outside the file",
        );
      default:
        this.fail(`unknown opcode 0x${opcode.toString(16)}`);
    }
  }

  #top(): PickleValue {
    const bottom = this.#marks.at(-1) ?? 0;
    if (this.#stack.length <= bottom) this.fail("its stack is empty");
    return this.#stack.at(-1)!;
  }

  #pop(): PickleValue {
    const value = this.#top();
    this.#stack.pop();
    return value;
  }

  #popMany(count: number): PickleValue[] {
    const bottom = this.#marks.at(-1) ?? 0;
    if (this.#stack.length - count < bottom) this.fail("its stack is empty");
    return this.#stack.splice(this.#stack.length - count);
  }

  #popToMark(): PickleValue[] {
    const mark = this.#marks.pop();
    if (mark === undefined) return this.fail("a mark is missing");
    return this.#stack.splice(mark);
  }

  #recall(index: number): void {
    const value = this.#memo.get(index);
    if (value === undefined) return this.fail(`memo ${index} was never set`);
    this.#stack.push(value);
  }

  #append(items: readonly PickleValue[]): void {
    const target = this.#top();
    if (!isComposite(target)) return this.fail("items are added to something that has none");
    switch (target.kind) {
      case "list":
      case "set":
      case "object":
        for (const item of items) target.items.push(item);
        return;
      case "tuple":
      case "dict":
      case "global":
      case "storage":
      case "tensor":
        return this.fail("items are added to something that has none");
    }
  }

  #setItems(items: readonly PickleValue[]): void {
    if (items.length % 2 !== 0) this.fail("a dict has a key without a value");
    const target = this.#top();
    const { entries } = asKind(target, "dict") ?? asKind(target, "object") ?? {};
    if (entries === undefined) return this.fail("entries are added to something that has none");
    for (let i = 0; i < items.length; i += 2) entries.set(items[i]!, items[i + 1]!);
  }

  #pushGlobal(module: string, attribute: string): void {
    if (module === "" || attribute === "") this.fail("a global has no name");
    const name = globalName(module, attribute);
    const known = this.#globals.get(name);
    if (known !== undefined) {
      this.#stack.push(known);
      return;
    }
    const global: PickleGlobal = { kind: "global", name };
    this.#globals.set(name, global);
    this.#stack.push(global);
    switch (classifyGlobal(name)) {
      case "tensor":
        return;
      case "data":
        this.referenced.add(name);
        return;
      case "inert":
        this.referenced.add(name);
        this.inert.add(name);
        return;
      case "unsafe":
        this.referenced.add(name);
        this.refused.add(name);
        return;
    }
  }

  /** An object made without calling anything of its class but `__new__`. */
  #instantiate(type: PickleValue, args: readonly PickleValue[]): PickleValue {
    const name = asKind(type, "global")?.name ?? asKind(type, "object")?.global;
    if (name === undefined) return this.fail("an object has no class");
    return this.#known(name, args) ?? pickleObject(name, args);
  }

  #call(callable: PickleValue, args: readonly PickleValue[]): PickleValue {
    const name = asKind(callable, "global")?.name ?? asKind(callable, "object")?.global;
    if (name === undefined) return this.fail("something is called that is no function");
    if (name.startsWith("copyreg.")) return this.#reconstruct(name, args);
    const isName = asKind(callable, "global") !== undefined;
    const harmless = isName && ["tensor", "data"].includes(classifyGlobal(name));
    if (!harmless) this.refused.add(name);
    return (harmless ? this.#known(name, args) : undefined) ?? pickleObject(name, args);
  }

  #known(name: string, args: readonly PickleValue[]): PickleValue | undefined {
    switch (classifyGlobal(name)) {
      case "tensor":
      case "data":
        return callGlobal(name, args, this);
      case "inert":
      case "unsafe":
        return undefined;
    }
  }

  /** The helpers by which old protocols construct objects: `(class, base, state)`, `(class, *args)`. */
  #reconstruct(name: string, args: readonly PickleValue[]): PickleValue {
    const [type, second, third] = args;
    if (type === undefined) return this.fail(`${name} is given no class`);
    if (name === "copyreg.__newobj__") return this.#instantiate(type, args.slice(1));
    if (name === "copyreg.__newobj_ex__") {
      return this.#instantiate(type, asKind(second, "tuple")?.items ?? []);
    }
    const object = this.#instantiate(type, []);
    const base = asKind(third, "dict");
    const target = asKind(object, "object");
    if (base !== undefined && target !== undefined) {
      this.spend(base.entries.size);
      for (const [key, value] of base.entries) target.entries.set(key, value);
    }
    return object;
  }

  #arguments(args: PickleValue | undefined): readonly PickleValue[] {
    const items = asKind(args, "tuple")?.items;
    return items ?? this.fail("arguments are not a tuple");
  }

  /** Attributes of the object on top of the stack. */
  #build(state: PickleValue): void {
    const target = this.#top();
    if (!isComposite(target)) return this.fail("attributes are set on something that has none");
    switch (target.kind) {
      case "dict":
        target.attributes = state;
        return;
      case "object":
        target.state = state;
        return;
      case "tensor": // attributes of a parameter, which no one reads
        return;
      case "global": // would change a class or function
        this.refused.add(target.name);
        return;
      case "list":
      case "tuple":
      case "set":
      case "storage":
        return this.fail("attributes are set on something that has none");
    }
  }

  #pushPersistent(id: PickleValue): void {
    const value = this.#persistentLoad(id);
    if (value === undefined)
      return this.fail("it refers to an object outside that is not a storage");
    this.#stack.push(value);
  }
}
