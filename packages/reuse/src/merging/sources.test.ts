import { f32, Rng } from "@lfm/core";
import { describe, expect, it } from "vitest";
import type { MergeIo } from "./io.js";
import { kernels } from "./kernels.js";
import type { GatheredTensor, StoredTensor, TensorSource } from "./plan.js";
import { openSource } from "./sources.js";

const [rows, width] = [40, 8];
const matrix = f32(new Rng(1).normalArray(rows * width), [rows, width]);
const values = matrix.data as Float32Array;
const stored: StoredTensor = { kind: "stored", file: "m", name: "m", position: 0, dtype: "f32", shape: [rows, width] };

/** Files in memory that count how often they are read. */
function counting(): { readonly io: MergeIo; reads: number } {
  const bytes = new Uint8Array(values.buffer);
  const counted = {
    reads: 0,
    io: {
      reader: () => ({
        read: (into: Uint8Array, position: number) => {
          counted.reads++;
          into.set(bytes.subarray(position, position + into.length));
        },
      }),
      writer: () => {
        throw new Error("nothing is written here");
      },
      close: () => {},
    } satisfies MergeIo,
  };
  return counted;
}

const gather = (of: readonly TensorSource[], picks: readonly (readonly (readonly [number, number])[])[]): GatheredTensor => ({
  kind: "gathered",
  of,
  starts: Int32Array.from([0, ...picks].map((_, i) => picks.slice(0, i).flat().length)),
  pick: Int32Array.from(picks.flat(2)),
  shape: [picks.length, width],
});

/** The whole source, cut into runs. */
function readAll(io: MergeIo, source: GatheredTensor, step: number): number[] {
  const k = kernels();
  const mark = k.mark();
  const opened = openSource(io, source);
  const n = source.shape[0]! * width;
  k.reserve(4 * step + 16 + (opened.room?.(step) ?? 0));
  const into = k.take(step);
  const all: number[] = [];
  for (let start = 0; start < n; start += step) {
    const part = into.subarray(0, Math.min(step, n - start));
    opened.read(start, part);
    all.push(...part);
  }
  k.release(mark);
  return all;
}

const row = (r: number): number[] => Array.from(values.subarray(r * width, (r + 1) * width));

describe("gathered rows", () => {
  it.each([1, 5, 8, 24, 1000])("copies, exchanges, means and empty rows, in runs of %i elements", (step) => {
    const picks = [
      [[0, 3]],
      [[0, 4]],
      [[0, 5]],
      [],
      [
        [0, 1],
        [0, 2],
      ],
      [[0, 7]],
      [[0, 6]],
      [[0, 39]],
      [
        [0, 0],
        [0, 1],
        [0, 9],
      ],
    ] as const;
    const got = readAll(counting().io, gather([stored], picks), step);
    const want = picks.flatMap((own) => Array.from({ length: width }, (_, c) => own.reduce((s, [, r]) => s + row(r)[c]! / own.length, 0)));
    for (const [i, v] of got.entries()) expect(v).toBeCloseTo(want[i]!, 6);
  });

  it("rows that follow each other are read at once", () => {
    const counted = counting();
    const picks = Array.from({ length: rows - 1 }, (_, i) => [[0, i < 20 ? i + 1 : i - 20] as const]);
    expect(readAll(counted.io, gather([stored], picks), 1000)).toEqual(picks.flat().flatMap(([, r]) => row(r)));
    expect(counted.reads).toBe(2);
  });

  it("a mean of all that many rows are is made once", () => {
    const counted = counting();
    const mean = gather([stored], [Array.from({ length: rows }, (_, r) => [0, r] as const)]);
    const many = gather([stored, mean], [[[0, 2]], ...Array.from({ length: 30 }, () => [[1, 0] as const])]);
    const got = readAll(counted.io, many, 16);
    const wanted = row(0).map((_, c) => Array.from({ length: rows }, (_, r) => row(r)[c]! / rows).reduce((a, b) => a + b));
    expect(got.slice(0, width)).toEqual(row(2));
    for (let i = width; i < got.length; i++) expect(got[i]).toBeCloseTo(wanted[i % width]!, 6);
    expect(counted.reads).toBe(2);
  });
});
