import { readFileSync } from "node:fs";
import type { Qrels, Run } from "@lfm/data";
import { describe, expect, it } from "vitest";
import { measure } from "./metrics.js";

const golden = JSON.parse(readFileSync(new URL("../../test/golden/trec-eval.json", import.meta.url), "utf8")) as {
  qrels: Qrels;
  run: Record<string, Record<string, number>>;
  values: Record<string, Record<string, number>>;
};
const run: Run = new Map(
  Object.entries(golden.run).map(([query, docs]) => [query, Object.entries(docs).map(([id, score]) => ({ id, score }))]),
);
const names = {
  "ndcg@3": "ndcg_cut_3",
  "ndcg@10": "ndcg_cut_10",
  ndcg: "ndcg",
  "recall@5": "recall_5",
  "recall@100": "recall_100",
  "precision@5": "P_5",
  map: "map",
  "map@10": "map_cut_10",
  mrr: "recip_rank",
} as const;

describe("measure", () => {
  it.each(Object.entries(names))("%s equals trec_eval on every query, ties and negative grades included", (ours, theirs) => {
    const { perQuery, mean } = measure(run, golden.qrels, ours);
    expect([...perQuery.keys()].sort()).toEqual(Object.keys(golden.values).sort());
    for (const [query, value] of perQuery) expect(value, query).toBeCloseTo(golden.values[query]![theirs]!, 10);
    expect(mean).toBeCloseTo([...perQuery.values()].reduce((a, b) => a + b, 0) / perQuery.size, 12);
  });

  it("by hand: equal scores are ordered by id, descending", () => {
    const tied: Run = new Map([["q", ["a", "c", "b"].map((id) => ({ id, score: 1 }))]]);
    expect(measure(tied, { q: { a: 1 } }, "mrr").mean).toBe(1 / 3);
    expect(measure(tied, { q: { a: 2, x: 1 } }, "ndcg@3").mean).toBeCloseTo(2 / 2 / (2 + 1 / Math.log2(3)), 12);
    expect(measure(tied, { q: { a: 1 } }, "mrr@2").mean).toBe(0);
  });

  it("counts unanswered queries on request", () => {
    const qrels = { q: { a: 1 }, other: { a: 1 } };
    const one: Run = new Map([["q", [{ id: "a", score: 1 }]]]);
    expect(measure(one, qrels, "map").mean).toBe(1);
    expect(measure(one, qrels, "map", { queries: "judged" }).mean).toBe(0.5);
  });

  it("refuses unknown measures and runs without a judged query", () => {
    expect(() => measure(run, golden.qrels, "ndgc@10")).toThrow(/unknown measure/);
    expect(() => measure(new Map(), golden.qrels, "map")).toThrow(/no query/);
  });
});
