import { createHash } from "node:crypto";
import { type Dim, formatShape, type HostTensor, LfmError } from "@lfm/core";
import type { Batch, BatchSpec } from "@lfm/train";

/** The rows of a batch, each known by what it holds. */
export interface KnownRows {
  /** SHA-256 of a row, 32 bytes each. */
  readonly keys: readonly Buffer[];
  /** Rows of logits that belong to each. */
  readonly answers: readonly number[];
}

const POSITIONS = "scored";

/**
 * Keys of the rows of a batch. Padding is no part of a row: columns behind the last that an f32 tensor of the same symbolic length (mask, weights)
 * marks are left out, so that a row is known again between longer ones.
 * @param spec types of the batch, see {@link BatchSpec}
 * @throws {LfmError} CONFIG_INVALID for a batch with a tensor that is not of rows
 */
export function knownRows(spec: BatchSpec, batch: Batch): KnownRows {
  const names = Object.keys(spec)
    .filter((name) => name !== POSITIONS)
    .sort();
  const rows = batch[names[0] ?? ""]?.shape[0] ?? 0;
  const other = names.find((name) => batch[name]?.shape[0] !== rows);
  if (rows === 0 || other !== undefined)
    throw new LfmError(
      "CONFIG_INVALID",
      `[@lfm/distillation] "${other ?? "batch"}" is not of the batch's rows: its answers cannot be kept`,
      {
        hint: "leave the cache out",
      },
    );
  const places = placesOf(batch, rows);
  return {
    keys: Array.from({ length: rows }, (_, r) => keyOf(spec, batch, names, r, places?.[r])),
    answers: Array.from({ length: rows }, (_, r) => (places ? places[r]!.length : 1)),
  };
}

function keyOf(spec: BatchSpec, batch: Batch, names: readonly string[], row: number, places: readonly number[] | undefined): Buffer {
  const ends = new Map<string, number>();
  for (const name of names) {
    const columns = columnsOf(spec[name]!.shape);
    if (columns !== undefined && spec[name]!.dtype === "f32")
      ends.set(columns, Math.max(ends.get(columns) ?? 0, lastMarked(batch[name]!, row)));
  }
  const hash = createHash("sha256");
  for (const name of names) {
    const t = batch[name]!;
    const columns = columnsOf(spec[name]!.shape);
    const shape = t.shape.slice(1);
    if (columns !== undefined) shape[0] = ends.get(columns) ?? shape[0]!;
    const whole = sizeOf(t.shape.slice(1));
    const { buffer, byteOffset, BYTES_PER_ELEMENT: wide } = t.data.subarray(row * whole, row * whole + sizeOf(shape));
    hash.update(JSON.stringify([name, t.dtype, shape])).update(new Uint8Array(buffer, byteOffset, sizeOf(shape) * wide));
  }
  return hash.update(JSON.stringify(places ?? [])).digest();
}

/** Positions of each row whose logits are asked, where a task names them: i32[scored] of row · columns + position, ascending. */
function placesOf(batch: Batch, rows: number): readonly (readonly number[])[] | undefined {
  const { scored, tokens } = batch;
  if (!scored || !tokens) return undefined;
  const columns = tokens.shape[1]!;
  const places: number[][] = Array.from({ length: rows }, () => []);
  for (const at of scored.data) places[Math.floor(Number(at) / columns)]!.push(Number(at) % columns);
  return places;
}

/** The name of a length that differs between batches. */
function columnsOf([, columns]: readonly Dim[]): string | undefined {
  return columns === undefined || typeof columns === "number" ? undefined : formatShape([columns]);
}

/** Columns up to the last that is not 0. */
function lastMarked({ shape, data }: HostTensor, row: number): number {
  const columns = shape[1]!;
  let end = columns;
  while (end > 0 && Number(data[row * columns + end - 1]) === 0) end--;
  return end;
}

const sizeOf = (shape: readonly number[]): number => shape.reduce((a, b) => a * b, 1);
