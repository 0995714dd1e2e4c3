import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type Engine, f32, ortEngine, Rng } from "@lfm/core";
import fc from "fast-check";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { createFlatIndex, loadFlat } from "./flat-index.js";

let folder: string;
let engine: Engine;
beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), "lfm-flat-"));
  engine = await ortEngine({ threads: 1 });
});
afterAll(async () => {
  await engine.dispose();
  rmSync(folder, { recursive: true, force: true });
});

const random = (seed: number, n: number, d: number): Float32Array => new Rng(seed).normalArray(n * d);
const ids = (n: number): string[] => Array.from({ length: n }, (_, i) => `v${i}`);

describe("flat index", () => {
  it("by hand", async () => {
    const index = createFlatIndex(2, { metric: "inner-product" });
    index.add(["a", "b", "c"], f32([1, 0, 0, 2, 3, 3], [3, 2]));
    expect(await index.search(f32([1, 0.5], [1, 2]), 2)).toEqual([
      [
        { id: "c", score: 4.5 },
        { id: "a", score: 1 },
      ],
    ]);
    const cosine = createFlatIndex(2);
    cosine.add(["a", "b", "zero"], f32([10, 0, 1, 1, 0, 0], [3, 2]));
    const [[first, second, third]] = (await cosine.search(f32([2, 0], [1, 2]), 9)) as [[never, never, never]];
    expect([first, second, third]).toEqual([
      { id: "a", score: expect.closeTo(1, 6) },
      { id: "b", score: expect.closeTo(Math.SQRT1_2, 6) },
      { id: "zero", score: 0 },
    ]);
  });

  it("equals brute force, by loops and by the engine", async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.integer({ min: 1, max: 60 }),
        fc.integer({ min: 1, max: 9 }),
        fc.integer({ min: 0, max: 999 }),
        async (n, d, seed) => {
          const vectors = random(seed, n, d);
          const query = random(seed + 1, 1, d);
          const index = createFlatIndex(d, { metric: "inner-product" });
          index.add(ids(n), f32(vectors, [n, d]));
          const wanted = Array.from({ length: n }, (_, i) => {
            let sum = 0;
            for (let j = 0; j < d; j++) sum += vectors[i * d + j]! * query[j]!;
            return sum;
          }).sort((a, b) => b - a);
          for (const options of [{}, { engine }]) {
            const [hits] = await index.search(f32(query, [1, d]), 5, options);
            expect(hits).toHaveLength(Math.min(5, n));
            hits!.forEach((hit, i) => {
              expect(hit.score).toBeCloseTo(wanted[i]!, 4);
            });
          }
        },
      ),
      { numRuns: 40, seed: 3 },
    );
  });

  it("forgets what is removed and keeps the order of the rest", async () => {
    const index = createFlatIndex(3);
    index.add(ids(6), f32(random(1, 6, 3), [6, 3]));
    expect(index.remove(["v1", "v4", "nobody"])).toBe(2);
    expect(index.ids).toEqual(["v0", "v2", "v3", "v5"]);
    const fresh = createFlatIndex(3);
    const all = random(1, 6, 3);
    fresh.add(
      ["v0", "v2", "v3", "v5"],
      f32(
        [0, 2, 3, 5].flatMap((i) => [...all.slice(3 * i, 3 * i + 3)]),
        [4, 3],
      ),
    );
    const query = f32(random(2, 1, 3), [1, 3]);
    expect(await index.search(query, 4)).toEqual(await fresh.search(query, 4));
    index.add(["v1"], f32([1, 0, 0], [1, 3]));
    expect(index.ids).toHaveLength(5);
  });

  it("saves and loads", async () => {
    const index = createFlatIndex(4);
    index.add(ids(20), f32(random(4, 20, 4), [20, 4]));
    await index.save(join(folder, "flat.safetensors"));
    const again = loadFlat(join(folder, "flat.safetensors"));
    const query = f32(random(5, 2, 4), [2, 4]);
    expect(await again.search(query, 20)).toEqual(await index.search(query, 20));
    expect(again.metric).toBe("cosine");
  });

  it("names what is wrong", async () => {
    const index = createFlatIndex(2);
    index.add(["a"], f32([1, 1], [1, 2]));
    expect(() => index.add(["a"], f32([1, 1], [1, 2]))).toThrow(/"a" is there already/);
    expect(() => index.add(["b", "b"], f32([1, 1, 1, 1], [2, 2]))).toThrow(/"b" is there already/);
    expect(() => index.add(["c"], f32([1, 1, 1], [1, 3]))).toThrow(/expected f32\[1, 2\], got f32\[1, 3\]/);
    expect(() => index.add(["c"], f32([1, Number.NaN], [1, 2]))).toThrow(/not finite/);
    await expect(index.search(f32([1, 1], [1, 2]), 1, { signal: AbortSignal.abort() })).rejects.toMatchObject({ code: "ABORTED" });
    expect(() => createFlatIndex(0)).toThrow(/positive integer/);
  });
});
