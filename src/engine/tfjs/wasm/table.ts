/** Tables of addresses, as conv.wat and window.wat read them. */
import type { Area, Phase, Tap, Window } from "./geometry.js";
import type { Heap, Take } from "./heap.js";

export interface Table {
  readonly address: number;
  /** Pixels; 8 bytes each. */
  readonly count: number;
}

/** Input rows (channel `inChannel` on) and output rows of every output pixel. */
export function windowTable(
  heap: Heap,
  take: Take,
  { stride }: Window,
  from: Area,
  to: Area,
  channels: { in: number; out: number } = { in: 0, out: 0 },
): Table {
  const count = to.images * to.rows * to.columns;
  const address = take(count * 8);
  const inRow = from.columns * from.channels * 4;
  const outRow = to.columns * to.channels * 4;
  heap.conv.fill(
    ...[address, to.images, to.rows, to.columns],
    ...[from.address + channels.in * 4, from.rows * inRow],
    ...[stride[0] * inRow, stride[1] * from.channels * 4],
    ...[to.address + channels.out * 4, to.rows * outRow, outRow, to.channels * 4],
  );
  return { address, count };
}

/** Rows of the output's padded gradient `from`, and rows of the input's gradient `to`, of one phase. */
export function phaseTable(
  heap: Heap,
  take: Take,
  { stride }: Window,
  phase: Phase,
  from: Area,
  to: Area,
  channels: { in: number; out: number } = { in: 0, out: 0 },
): Table {
  const count = to.images * phase.count[0] * phase.count[1];
  const address = take(count * 8);
  const inRow = from.columns * from.channels * 4;
  const pixel = to.channels * 4;
  const outRow = to.columns * pixel;
  const out = to.address + channels.out * 4 + phase.first[0] * outRow + phase.first[1] * pixel;
  heap.conv.fill(
    ...[address, to.images, ...phase.count],
    ...[from.address + channels.in * 4, from.rows * inRow, inRow, from.channels * 4],
    ...[out, to.rows * outRow, stride[0] * outRow, stride[1] * pixel],
  );
  return { address, count };
}

/** Calls `use` with pieces of a table of `size` pixels or fewer. */
export function inBlocks(
  { address, count }: Table,
  size: number,
  use: (address: number, count: number) => void,
): void {
  for (let done = 0; done < count; done += size) {
    use(address + done * 8, Math.min(size, count - done));
  }
}

/** Writes numbers to scratch. */
export function integers(heap: Heap, take: Take, values: readonly number[]): number {
  const address = take(values.length * 4);
  heap.integers.set(values, address / 4);
  return address;
}

/** Distance of a tap from the window's first pixel, in bytes. */
export function tapBytes(tap: Tap, within: Area): number {
  return (tap.row * within.columns + tap.column) * within.channels * 4;
}

/** Stretches of numbers that all outputs of a pixel read. */
export interface Runs {
  /** Where each starts, in bytes from the pixel's input row. */
  readonly offsets: readonly number[];
  /** Numbers in each. */
  readonly length: number;
}

/** Taps as runs: those that lie side by side are one, where all channels are read. */
export function runsOf(taps: readonly Tap[], within: Area, channels: number): Runs {
  const inRow = taps.filter((tap) => tap.row === taps[0]!.row);
  const joined =
    channels === within.channels &&
    inRow.every((tap, index) => tap.column === inRow[0]!.column + index);
  const perRun = joined ? inRow.length : 1;
  const starts = taps.filter((_, index) => index % perRun === 0);
  return { offsets: starts.map((tap) => tapBytes(tap, within)), length: perRun * channels };
}
