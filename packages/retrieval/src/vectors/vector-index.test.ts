import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type Engine, f32, type HostTensor, isLfmError, ortEngine, Rng } from "@lfm/core";
import fc from "fast-check";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { createVectorIndex, loadVectorIndex, type VectorIndex } from "./vector-index.js";

let folder: string;
let engine: Engine;
beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), "lfm-vectors-"));
  engine = await ortEngine({ threads: 1 });
});
afterAll(async () => {
  await engine.dispose();
  rmSync(folder, { recursive: true, force: true });
});

const D = 12;
const ids = (n: number, from = 0): string[] => Array.from({ length: n }, (_, i) => `v${from + i}`);
/** Vectors around a few centres, as texts are. */
function clustered(seed: number, n: number, d = D): HostTensor {
  const rng = new Rng(9);
  const centres = Array.from({ length: 12 }, () => rng.normalArray(d));
  const own = new Rng(seed);
  return f32(
    Array.from({ length: n }, () => {
      const centre = own.pick(centres);
      return Array.from(centre, (c) => c + 0.6 * own.normal());
    }).flat(),
    [n, d],
  );
}
const rowsOf = ({ data, shape }: HostTensor): number[][] =>
  Array.from({ length: shape[0]! }, (_, i) => Array.from((data as Float32Array).slice(i * shape[1]!, (i + 1) * shape[1]!)));
const build = (factory: string, vectors: HostTensor, options = {}): VectorIndex => {
  const index = createVectorIndex(factory, vectors.shape[1]!, options);
  index.train(vectors);
  index.add(ids(vectors.shape[0]!), vectors);
  return index;
};
/** One of each structure and codec. */
const factories = [
  "Flat",
  "SQ8",
  "LSH",
  "PQ4",
  "IVF6,Flat",
  "IVF6,SQ8",
  "IVF6,PQ4",
  "HNSW4",
  "HNSW4,SQ8",
  "HNSW4,LSH",
  "IVF6,PQ4,RFlat",
  "HNSW4,SQ8,RFlat",
];

describe("scores", () => {
  it("by hand", async () => {
    const index = createVectorIndex("Flat", 2, { metric: "inner-product" });
    index.add(["a", "b", "c"], f32([1, 0, 0, 2, 3, 3], [3, 2]));
    expect(await index.search(f32([1, 0.5], [1, 2]), 2)).toEqual([
      [
        { id: "c", score: 4.5 },
        { id: "a", score: 1 },
      ],
    ]);
    const cosine = createVectorIndex("Flat", 2);
    cosine.add(["a", "b", "zero"], f32([10, 0, 1, 1, 0, 0], [3, 2]));
    expect((await cosine.search(f32([2, 0], [1, 2]), 9))[0]).toEqual([
      { id: "a", score: expect.closeTo(1, 6) },
      { id: "b", score: expect.closeTo(Math.SQRT1_2, 6) },
      { id: "zero", score: 0 },
    ]);
    const l2 = createVectorIndex("Flat", 2, { metric: "l2" });
    l2.add(["a", "b"], f32([1, 0, 0, 2], [2, 2]));
    expect((await l2.search(f32([1, 1], [1, 2]), 2))[0]).toEqual([
      { id: "a", score: -1 },
      { id: "b", score: -2 },
    ]);
  });

  it("by hand: 8 bits and signs", async () => {
    const bytes = createVectorIndex("SQ8", 2, { metric: "inner-product" });
    // x = 4·(127, −64)/127 (−2 is rounded to −64 steps), q = 1·(127, 127)/127.
    bytes.add(["x"], f32([4, -2], [1, 2]));
    expect((await bytes.search(f32([1, 1], [1, 2]), 1))[0]![0]!.score).toBeCloseTo(4 - (4 * 64) / 127, 5);
    const signs = createVectorIndex("LSH", 4);
    signs.add(["x", "y"], f32([1, -1, 1, -1, 1, 1, 1, 1], [2, 4]));
    expect((await signs.search(f32([1, 1, 1, -1], [1, 4]), 2))[0]).toEqual([
      { id: "x", score: 0.5 },
      { id: "y", score: 0.5 },
    ]);
  });

  it("Flat equals brute force at every dimension, by kernels and by the engine", async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.integer({ min: 1, max: 60 }),
        fc.integer({ min: 1, max: 37 }),
        fc.constantFrom("inner-product", "cosine", "l2"),
        fc.integer({ min: 0, max: 999 }),
        async (n, d, metric, seed) => {
          const [vectors, queries] = [f32(new Rng(seed).normalArray(n * d), [n, d]), f32(new Rng(seed + 1).normalArray(8 * d), [8, d])];
          const index = createVectorIndex("Flat", d, { metric });
          index.add(ids(n), vectors);
          const unit = (x: number[]): number[] => (metric === "cosine" ? x.map((v) => v / Math.hypot(...x)) : x);
          const score = (q: number[], x: number[]): number =>
            q.reduce((sum, v, i) => sum + (metric === "l2" ? -((v - x[i]!) ** 2) : v * x[i]!), 0);
          for (const options of [{}, { engine }]) {
            const found = await index.search(queries, 5, options);
            for (const [q, query] of rowsOf(queries).entries()) {
              const wanted = rowsOf(vectors)
                .map((x) => score(unit(query), unit(x)))
                .sort((a, b) => b - a);
              expect(found[q]).toHaveLength(Math.min(5, n));
              found[q]!.forEach((hit, i) => {
                expect(hit.score).toBeCloseTo(wanted[i]!, 4);
              });
            }
          }
        },
      ),
      { numRuns: 12, seed: 3 },
    );
  });
});

describe("limits", () => {
  const vectors = clustered(1, 500);
  const queries = clustered(2, 20);
  const exact = build("Flat", vectors, { metric: "l2" });

  it("all lists probed is exact search", async () => {
    const index = build("IVF6,Flat", vectors, { metric: "l2" });
    expect(await index.search(queries, 10, { probes: 6 })).toEqual(await exact.search(queries, 10));
    const recall = async (probes: number): Promise<number> => (await index.audit({ queries, search: { probes } })).recall;
    const curve = await Promise.all([1, 2, 4, 6].map(recall));
    expect(curve).toEqual([...curve].sort((a, b) => a - b));
    expect(curve.at(-1)).toBe(1);
  });

  it("a graph searched as wide as it is large is exact search", async () => {
    const index = build("HNSW4", vectors, { metric: "l2" });
    expect(await index.search(queries, 10, { ef: 500 })).toEqual(await exact.search(queries, 10));
  });

  it("all rescored is exact search", async () => {
    for (const factory of ["SQ8,RFlat", "LSH,RFlat", "PQ4,RFlat"]) {
      const index = build(factory, vectors, { metric: "l2" });
      expect(await index.search(queries, 10, { rescore: 50 }), factory).toEqual(await exact.search(queries, 10));
      const { recall } = await index.audit({ queries, search: { rescore: 12 } });
      expect(recall, factory).toBeGreaterThan(0.9);
    }
  });

  it("8 bits are within a hundredth of 32", async () => {
    const [ours, theirs] = [build("SQ8", vectors), build("Flat", vectors)];
    const [a, b] = [await ours.search(queries, 500), await theirs.search(queries, 500)];
    for (const [q, row] of a.entries()) {
      const wanted = new Map(b[q]!.map((hit) => [hit.id, hit.score]));
      for (const hit of row) expect(Math.abs(hit.score - wanted.get(hit.id)!)).toBeLessThan(0.01);
    }
  });

  it("products and cosines go through lists and codebooks as distances do", async () => {
    for (const factory of ["IVF6,PQ4,RFlat", "PQ4,RFlat", "IVF6,SQ8", "HNSW4"]) {
      const { recall } = await build(factory, vectors).audit({ queries, exact: build("Flat", vectors), search: { rescore: 10 } });
      expect(recall, factory).toBeGreaterThan(0.85);
    }
  });
});

describe.each(factories)("%s", (factory) => {
  const vectors = clustered(3, 400);
  const queries = clustered(4, 5);

  it("is the same each time it is built, and saved and loaded", async () => {
    const [index, again] = [build(factory, vectors, { seed: 7 }), build(factory, vectors, { seed: 7 })];
    const path = join(folder, `${factory}.safetensors`);
    await index.save(path);
    const bytes = readFileSync(path);
    await again.save(path);
    expect(readFileSync(path).equals(bytes)).toBe(true);
    const loaded = loadVectorIndex(path);
    expect(loaded.factory).toBe(factory);
    expect(loaded.bytes).toBe(index.bytes);
    expect(await loaded.search(queries, 10)).toEqual(await index.search(queries, 10));
    await loaded.save(path);
    expect(readFileSync(path).equals(bytes)).toBe(true);
    // What comes in later goes where it would have gone.
    const more = clustered(5, 30);
    for (const grown of [index, loaded]) grown.add(ids(30, 400), more);
    expect(await loaded.search(queries, 10)).toEqual(await index.search(queries, 10));
  });

  it("finds only what is there and asked for", async () => {
    const index = build(factory, vectors);
    const all = { probes: 6, ef: 400 };
    const even = (id: string): boolean => Number(id.slice(1)) % 2 === 0;
    for (const hits of await index.search(queries, 400, { filter: even, ...all })) expect(new Set(hits.map((h) => h.id)).size).toBe(200);
    for (const hits of await index.search(queries, 400, { filter: even, ...all })) expect(hits.every((h) => even(h.id))).toBe(true);
    for (const hits of await index.search(queries, 9, { filter: (id) => id === "v17", ...all }))
      expect(hits.map((h) => h.id)).toEqual(["v17"]);
    const gone = ids(150);
    expect(index.remove([...gone, "nobody"])).toBe(150);
    expect(index.ids).toEqual(ids(250, 150));
    for (const hits of await index.search(queries, 400, all)) expect(hits.map((h) => h.id).sort()).toEqual(ids(250, 150).sort());
    expect(index.remove(ids(240, 150))).toBe(240);
    for (const hits of await index.search(queries, 400, all)) expect(hits.map((h) => h.id).sort()).toEqual(ids(10, 390).sort());
    index.add(["v0"], f32((queries.data as Float32Array).slice(0, D), [1, D]));
    expect((await index.search(queries, 11, all))[0]!.map((h) => h.id)).toContain("v0");
    index.remove(index.ids);
    expect((await index.search(queries, 3))[0]).toEqual([]);
  });

  it("ranges are all that is near enough", async () => {
    const index = build(factory, vectors);
    const all = { probes: 6, ef: 400, rescore: 400 };
    const [whole] = await index.search(f32((queries.data as Float32Array).slice(0, D), [1, D]), 400, all);
    const least = whole![150]!.score;
    const [near] = await index.range(f32((queries.data as Float32Array).slice(0, D), [1, D]), least, all);
    expect(near).toEqual(whole!.filter((hit) => hit.score >= least));
  });

  it("names a file that was cut, and links, lists and levels that lead nowhere", async () => {
    const path = join(folder, "broken.safetensors");
    await build(factory, clustered(3, 300)).save(path);
    const bytes = readFileSync(path);
    const codeOf = async (): Promise<string> => {
      try {
        await loadVectorIndex(path).search(queries, 3);
      } catch (error) {
        if (isLfmError(error) && error.message.includes("broken.safetensors")) return error.code;
        throw error;
      }
      return "loaded";
    };
    for (let i = 0; i < 5; i++) {
      writeFileSync(path, bytes.subarray(0, Math.floor((bytes.length * i) / 5)));
      expect(await codeOf()).toBe("FILE_FORMAT");
    }
    // Any byte may be wrong: what still loads can be searched.
    const rng = new Rng(1).split(factory);
    for (let i = 0; i < 10; i++) {
      const changed = Buffer.from(bytes);
      for (let j = 0; j < 8; j++) changed[rng.int(changed.length)] = rng.int(256);
      writeFileSync(path, changed);
      expect(["loaded", "FILE_FORMAT"]).toContain(await codeOf());
    }
  });
});

describe("a graph", () => {
  it("finds what stands among many equal vectors, and all of them, before and after it was saved", async () => {
    const many = Array.from({ length: 300 }, (_, i) => (i % 100 === 7 ? [i, 9, 9, 9] : [1, 2, 3, i % 2])).flat();
    const index = build("HNSW2", f32(many, [300, 4]), { metric: "l2" });
    await index.save(join(folder, "twins.safetensors"));
    const loaded = loadVectorIndex(join(folder, "twins.safetensors"));
    for (const each of [index, loaded]) {
      each.add(["last", "far"], f32([1, 2, 3, 0, 500, 9, 9, 9], [2, 4]));
      // Narrow enough that the graph is gone through, and not all rows.
      const equal = (await each.search(f32([1, 2, 3, 0], [1, 4]), 40, { ef: 40 }))[0]!;
      expect(equal.filter((hit) => hit.score === 0)).toHaveLength(40);
      expect((await each.search(f32([1, 2, 3, 0], [1, 4]), 1, { ef: 8, filter: (id) => id === "last" || id === "far" }))[0]).toEqual([
        { id: "last", score: 0 },
      ]);
      for (const [x, id] of [
        [7, "v7"],
        [107, "v107"],
        [207, "v207"],
        [500, "far"],
      ] as const)
        expect((await each.search(f32([x, 9, 9, 9], [1, 4]), 1, { ef: 8 }))[0]![0]!.id).toBe(id);
    }
  });

  it("finds nearly all of what exact search finds, more with a larger ef", async () => {
    const vectors = clustered(6, 1800, 24);
    const index = build("HNSW16", vectors);
    const recall = async (ef: number): Promise<number> => (await index.audit({ sample: 40, search: { ef } })).recall;
    const [narrow, wide] = [await recall(10), await recall(100)];
    expect(narrow).toBeGreaterThan(0.7);
    expect(wide).toBeGreaterThan(0.99);
  });
});

describe("an audit", () => {
  it("counts by hand: times by the clock that it is given, equal neighbours alike", async () => {
    const index = build("Flat", f32([1, 0, 0, 1, 1, 1, 1, 1], [4, 2]), { metric: "inner-product" });
    let clock = 0;
    const now = (): number => {
      clock += 5;
      return clock;
    };
    expect(await index.audit({ queries: f32([1, 0], [1, 2]), k: 1, now })).toEqual({
      k: 1,
      queries: 1,
      recall: 1,
      qps: 200,
      p95Ms: 5,
      bytes: 32 + Buffer.byteLength(JSON.stringify(ids(4))),
      bytesPerVector: (32 + Buffer.byteLength(JSON.stringify(ids(4)))) / 4,
    });
  });

  it("needs something exact to compare with", async () => {
    const vectors = clustered(1, 300);
    const index = build("PQ4", vectors);
    await expect(index.audit()).rejects.toMatchObject({ code: "CONFIG_INVALID", hint: expect.stringContaining("PQ4,RFlat") });
    await expect(createVectorIndex("Flat", 2).audit()).rejects.toMatchObject({ code: "CONFIG_INVALID" });
    expect((await index.audit({ queries: clustered(2, 9), exact: build("Flat", vectors) })).recall).toBeGreaterThan(0.2);
  });
});

describe("factory strings", () => {
  it.each([
    ["flat", "Flat"],
    ["IDMap,Flat", "Flat"],
    ["HNSW", "HNSW32"],
    ["hnsw16,sq8", "HNSW16,SQ8"],
    ["IVF4, PQ3x8", "IVF4,PQ3x8"],
    ["PQ6,rflat", "PQ6,RFlat"],
  ])("%s", (text, name) => {
    expect(createVectorIndex(text, D).factory).toBe(name);
  });

  it.each([
    ["", "names no index"],
    ["IVF4", "does not say how vectors are kept"],
    ["OPQ4,PQ4", "names no index"],
    ["IVF4,Flat,SQ8", "names no index"],
    ["HNSW4,PQ4", "compares rows with each other"],
    ["PQ5", "cannot be cut into 5 parts"],
    ["PQ4x4", "8 bits"],
    ["IVF0,Flat", "at least one list"],
    ["HNSW1", "2 to 512 links"],
  ])("%s is refused: %s", (text, message) => {
    expect(() => createVectorIndex(text, D)).toThrow(message);
  });
});

it("names what is wrong", async () => {
  const index = createVectorIndex("Flat", 2);
  index.add(["a"], f32([1, 1], [1, 2]));
  expect(() => index.add(["a"], f32([1, 1], [1, 2]))).toThrow(/"a" is there already/);
  expect(() => index.add(["b", "b"], f32([1, 1, 1, 1], [2, 2]))).toThrow(/"b" is there already/);
  expect(() => index.add(["c"], f32([1, 1, 1], [1, 3]))).toThrow(/expected f32\[1, 2\], got f32\[1, 3\]/);
  expect(() => index.add(["c"], f32([1, Number.NaN], [1, 2]))).toThrow(/not finite/);
  await expect(index.search(f32([1, 1], [1, 2]), 1, { signal: AbortSignal.abort() })).rejects.toMatchObject({ code: "ABORTED" });
  expect(() => createVectorIndex("Flat", 0)).toThrow(/positive integer/);
  expect(() => createVectorIndex("IVF4,Flat", 2).add(["a"], f32([1, 1], [1, 2]))).toThrow(/must be trained/);
  expect(() => createVectorIndex("IVF4,Flat", 2).train(f32([1, 1], [1, 2]))).toThrow(/at least 4 vectors/);
  expect(() => index.train(f32([1, 1], [1, 2]))).toThrow(/not empty/);
});
