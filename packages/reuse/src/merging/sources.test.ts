import { f32, Rng, sizeOf } from "@lfm/core";
import { describe, expect, it } from "vitest";
import { shapeOf } from "../mergekit/tensor-types.js";
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
function readAll(io: MergeIo, source: TensorSource, step: number): number[] {
  const k = kernels();
  const mark = k.mark();
  const opened = openSource(io, source);
  const n = sizeOf(shapeOf(source));
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

describe("what an adapter changes", () => {
  // Rows 30 to 39 of the matrix are its factors: A [2, width], B [out, 2].
  const part = (name: string, position: number, shape: readonly number[]): StoredTensor => ({
    ...stored,
    name,
    position: 4 * position,
    shape,
  });
  const outputs = 6;
  const weight = part("w", 0, [outputs, width]);
  const [down, up, magnitude] = [part("a", 240, [2, width]), part("b", 256, [outputs, 2]), part("m", 268, [outputs])];
  const sum = Array.from({ length: outputs }, (_, o) =>
    Array.from(
      { length: width },
      (_, i) => values[o * width + i]! + 0.5 * [0, 1].reduce((s, r) => s + values[256 + 2 * o + r]! * values[240 + r * width + i]!, 0),
    ),
  );

  it.each([1, 5, 8, 17, 1000])("norms are those of whole rows, in runs of %i elements", (step) => {
    const got = readAll(counting().io, { kind: "adapted", weight, down, up, scale: 0.5, transposed: false, magnitude }, step);
    const want = sum.flatMap((r, o) => r.map((v) => (values[268 + o]! * v) / Math.hypot(...r)));
    for (const [i, v] of got.entries()) expect(v).toBeCloseTo(want[i]!, 5);
  });

  it.each([1, 7, 1000])("or of whole columns where the weight lies [in, out], in runs of %i elements", (step) => {
    // The same bytes as [width inputs, 6 outputs].
    const lying = part("w", 0, [width, outputs]);
    const got = readAll(counting().io, { kind: "adapted", weight: lying, down, up, scale: 0.5, transposed: true, magnitude }, step);
    const v = (i: number, o: number): number =>
      values[i * outputs + o]! + 0.5 * [0, 1].reduce((s, r) => s + values[256 + 2 * o + r]! * values[240 + r * width + i]!, 0);
    const norm = (o: number): number => Math.hypot(...Array.from({ length: width }, (_, i) => v(i, o)));
    for (const [at, got1] of got.entries()) {
      const [i, o] = [Math.floor(at / outputs), at % outputs];
      expect(got1).toBeCloseTo((values[268 + o]! * v(i, o)) / norm(o), 5);
    }
  });

  it.each([1, 4, 1000])("a bias is shifted, in runs of %i elements", (step) => {
    const got = readAll(counting().io, { kind: "shifted", weight: part("b", 0, [outputs]), by: magnitude, scale: 2 }, step);
    for (let i = 0; i < outputs; i++) expect(got[i]).toBeCloseTo(values[i]! + 2 * values[268 + i]!, 6);
  });
});
