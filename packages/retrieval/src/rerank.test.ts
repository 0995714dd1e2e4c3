import { f32, Rng } from "@lfm/core";
import type { Run } from "@lfm/data";
import { describe, expect, it } from "vitest";
import { rerank } from "./rerank.js";
import { createLateIndex } from "./vectors/late-interaction.js";

describe("rerank", () => {
  const passages = ["aa", "a", "aaa", "b"].map((text, i) => ({ id: `d${i}`, text }));
  const queries = [{ id: "q", text: "a" }];
  const run: Run = new Map([["q", passages.map(({ id }, i) => ({ id, score: 9 - i }))]]);
  const count = async (query: string, texts: readonly string[]): Promise<number[]> => texts.map((text) => text.split(query).length - 1);

  it("by hand: the first three are read, the rest stands behind", async () => {
    expect((await rerank(run, queries, passages, count, { top: 3 })).get("q")).toEqual([
      { id: "d2", score: 3 },
      { id: "d0", score: 2 },
      { id: "d1", score: 1 },
      { id: "d3", score: 0 },
    ]);
  });

  it("a scorer that finds all alike, or none to read, keeps the order", async () => {
    const order = async (top: number): Promise<string[]> =>
      (await rerank(run, queries, passages, async (_, texts) => texts.map(() => 1), { top })).get("q")!.map((hit) => hit.id);
    expect(await order(100)).toEqual(["d0", "d1", "d2", "d3"]);
    expect(await order(0)).toEqual(["d0", "d1", "d2", "d3"]);
  });

  it("names what is missing", async () => {
    await expect(rerank(run, [], passages, count)).rejects.toThrow(/query "q"/);
    await expect(rerank(run, queries, passages.slice(1), count)).rejects.toThrow(/"d0", which is not among the passages/);
    await expect(rerank(run, queries, passages, async () => [1])).rejects.toMatchObject({ code: "SHAPE_MISMATCH" });
  });
});

describe("late interaction", () => {
  it("by hand: each token of the query counts its nearest", () => {
    const index = createLateIndex(2);
    index.add("both", f32([1, 0, 0, 5], [2, 2]));
    index.add("one", f32([2, 0], [1, 2]));
    expect(index.search(f32([3, 0, 0, 1], [2, 2]), 2)).toEqual([
      { id: "both", score: 2 },
      { id: "one", score: 1 },
    ]);
    expect(index.search(f32([3, 0, 0, 1], [2, 2]), 2, ["one"])).toEqual([{ id: "one", score: 1 }]);
  });

  it("equals the definition; one token on each side is a cosine", () => {
    const rng = new Rng(2);
    const d = 7;
    const index = createLateIndex(d);
    const unit = (x: number[]): number[] => x.map((v) => v / Math.hypot(...x));
    const draw = (n: number): number[][] => Array.from({ length: n }, () => [...rng.normalArray(d)]);
    const documents = Array.from({ length: 20 }, (_, i) => draw(1 + (i % 6)));
    documents.forEach((tokens, i) => {
      index.add(String(i), f32(tokens.flat(), [tokens.length, d]));
    });
    const query = draw(4);
    const wanted = documents
      .map((tokens, i) => ({
        id: String(i),
        score: query.reduce((sum, q) => sum + Math.max(...tokens.map((t) => unit(t).reduce((s, v, j) => s + v * unit(q)[j]!, 0))), 0),
      }))
      .sort((a, b) => b.score - a.score);
    const hits = index.search(f32(query.flat(), [4, d]), 20);
    expect(hits.map((hit) => hit.id)).toEqual(wanted.map((hit) => hit.id));
    hits.forEach((hit, i) => {
      expect(hit.score).toBeCloseTo(wanted[i]!.score, 5);
    });
  });

  it("names what is wrong", () => {
    const index = createLateIndex(2);
    index.add("a", f32([1, 0], [1, 2]));
    expect(() => index.add("a", f32([1, 0], [1, 2]))).toThrow(/there already/);
    expect(() => index.add("b", f32([1, 0, 0], [1, 3]))).toThrow(/expected f32\[tokens, 2\]/);
    expect(() => index.search(f32([1, 0], [1, 2]), 1, ["x"])).toThrow(/no "x"/);
    expect(createLateIndex(2).search(f32([1, 0], [1, 2]), 3)).toEqual([]);
  });
});
