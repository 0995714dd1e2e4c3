import { f32, type HostTensor, Rng } from "@lfm/core";
import { describe, expect, it } from "vitest";
import { SlotCache } from "./slot-cache.js";

const layers = [
  { kvHeads: 2, headDim: 3 },
  { kvHeads: 1, headDim: 2 },
];
const shapes = layers.flatMap(({ kvHeads, headDim }) => [
  { kvHeads, headDim },
  { kvHeads, headDim },
]);

/** Keys and values of one position of one row, by tensor and head. */
type Position = readonly number[][][];

describe("a cache of sequences that come and go", () => {
  it("holds of each row what was written there, whatever others do, and no more room than it needs", () => {
    const rng = new Rng(3);
    const cache = new SlotCache(layers);
    const rows: Position[][] = [];
    const fresh = (): Position =>
      shapes.map(({ kvHeads, headDim }) =>
        Array.from({ length: kvHeads }, () => rng.normalArray(headDim).slice()).map((h) => Array.from(f32(h).data, Number)),
      );
    /** f32[rows, kvHeads, positions, headDim] with room behind the positions. */
    const tensors = (of: readonly (readonly Position[])[], room: number): HostTensor[] =>
      shapes.map(({ kvHeads, headDim }, t) => {
        const data = of.flatMap((row) =>
          Array.from({ length: kvHeads }, (_, h) =>
            Array.from({ length: room }, (_, p) => row[p]?.[t]?.[h] ?? new Array<number>(headDim).fill(9)).flat(),
          ).flat(),
        );
        return f32(data, [of.length, kvHeads, room, headDim]);
      });
    const check = (): void => {
      expect(cache.rows).toBe(rows.length);
      const mask = new Float32Array(rows.length * (cache.capacity + 1)).fill(7);
      cache.mask(mask);
      for (const [t, { shape, data }] of cache.tensors().entries()) {
        const { kvHeads, headDim } = shapes[t]!;
        expect(shape).toEqual([rows.length, kvHeads, cache.capacity, headDim]);
        for (const [r, row] of rows.entries())
          for (let h = 0; h < kvHeads; h++)
            for (const [p, position] of row.entries()) {
              const at = ((r * kvHeads + h) * cache.capacity + p) * headDim;
              expect(Array.from(data.slice(at, at + headDim), Number)).toEqual(position[t]![h]);
            }
      }
      for (const [r, row] of rows.entries()) {
        const own = Array.from(mask.subarray(r * (cache.capacity + 1), (r + 1) * (cache.capacity + 1)));
        expect(own).toEqual([...row.map(() => 1), ...new Array<number>(cache.capacity - row.length).fill(0), 1]);
      }
    };
    const enter = (length: number): void => {
      const row = Array.from({ length }, fresh);
      cache.enter(tensors([row], length + 2), length);
      rows.push(row);
    };
    const leave = (row: number): void => {
      cache.leave(row);
      const last = rows.pop()!;
      if (row < rows.length) rows[row] = last;
    };
    enter(3);
    enter(62);
    check();
    for (let step = 0; step < 3; step++) {
      const added = rows.map(fresh);
      cache.append(
        tensors(
          added.map((p) => [p]),
          1,
        ),
      );
      for (const [r, position] of added.entries()) rows[r]!.push(position);
    }
    check();
    enter(1);
    leave(0);
    check();
    enter(900);
    enter(2);
    check();
    const most = cache.capacity;
    leave(2);
    check();
    expect(most).toBeGreaterThanOrEqual(901);
    expect(cache.capacity, "the room of the long one is given back").toBe(128);
    leave(1);
    leave(1);
    leave(0);
    expect([cache.rows, cache.capacity]).toEqual([0, 0]);
    enter(4);
    check();
  });
});
