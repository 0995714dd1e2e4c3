import { readFileSync } from "node:fs";
import type { Hit } from "@lfm/data";
import { describe, expect, it } from "vitest";
import { relevanceModel } from "../rm3.js";
import { wordAnalyzer } from "../text/analyzer.js";
import { buildBm25 } from "./bm25-index.js";
import { buildBm25f } from "./combined-fields.js";
import { likelihoodSearch } from "./language-model.js";

const golden = JSON.parse(readFileSync(new URL("../../test/golden/lucene-models.json", import.meta.url), "utf8")) as {
  documents: Record<string, [title: string, text: string]>;
  queries: Record<string, string>;
  found: Record<string, Record<string, [string, number][]>>;
};
const passages = Object.entries(golden.documents).map(([id, [title, text]]) => ({ id, title, text }));
const analyzer = wordAnalyzer();
const index = buildBm25(passages, { analyzer });
const K = 12;

const likelihood = (smoothing: Parameters<typeof likelihoodSearch>[1]) => {
  const scores = likelihoodSearch(index.inverted, smoothing);
  return (query: string): Hit[] => scores.search(index.analyze(query), K);
};
const fields = buildBm25f(passages, { title: 2, analyzer });
const expanded = relevanceModel(index, { documents: 5, terms: 10 });
const searches: Readonly<Record<string, (query: string) => Hit[]>> = {
  dirichlet: likelihood({ kind: "dirichlet", mu: 1000 }),
  "jelinek-mercer": likelihood({ kind: "jelinek-mercer", lambda: 0.1 }),
  bm25f: (query) => fields.search(query, K),
  rm3: (query) => expanded.search(query, K),
};

describe.each(Object.entries(searches))("%s", (name, search) => {
  it("finds what Lucene finds, with its scores", () => {
    for (const [id, query] of Object.entries(golden.queries)) {
      const wanted = golden.found[name]![id] ?? [];
      const hits = search(query);
      expect(
        hits.map((hit) => hit.score),
        id,
      ).toEqual(wanted.map(([, score]) => expect.closeTo(score, 5)));
      // Equal scores stand in another order there; the last may have equals that are not seen.
      const apart = wanted
        .slice(0, -1)
        .filter(([, s], i) => [i - 1, i + 1].every((j) => Math.abs((wanted[j]?.[1] ?? Infinity) - s) > 1e-5));
      for (const [document, score] of apart) expect(hits.find((hit) => hit.id === document)?.score).toBeCloseTo(score, 5);
    }
  });
});

describe("by hand", () => {
  const two = buildBm25(
    [
      { id: "a", text: "cat cat dog" },
      { id: "b", text: "dog" },
    ],
    { analyzer, lengths: "exact" },
  );

  it("query likelihood: two documents, one word", () => {
    // p(cat) = (2 + 1)/(4 + 1) = .6; |a| 3.
    const dirichlet = likelihoodSearch(two.inverted, { kind: "dirichlet", mu: 2 }, "exact");
    expect(dirichlet.search(two.analyze("cat"), 5)).toEqual([
      { id: "a", score: expect.closeTo(Math.log(1 + 2 / 1.2) + Math.log(2 / 5), 6) },
    ]);
    const mercer = likelihoodSearch(two.inverted, { kind: "jelinek-mercer", lambda: 0.5 }, "exact");
    expect(mercer.search(two.analyze("cat"), 5)).toEqual([{ id: "a", score: expect.closeTo(Math.log(1 + 1 / 3 / 0.3), 6) }]);
  });

  it("rm3: the query alone where it has all the weight", () => {
    expect([...relevanceModel(two, { originalWeight: 1 }).expand("cat cat dog")]).toEqual([
      ["cat", Math.fround(2 / 3)],
      ["dog", Math.fround(1 / 3)],
    ]);
  });

  it("bm25f: a word in a title counts as often as the title weighs", () => {
    const passages = [
      { id: "title", title: "cat", text: "x" },
      { id: "text", title: "y", text: "cat cat cat" },
      { id: "none", title: "y", text: "x" },
    ];
    const same = buildBm25f(passages, { title: 3, analyzer, b: 0 }).search("cat", 3);
    expect(same.map((hit) => hit.id)).toEqual(["title", "text"]);
    expect(same[0]!.score).toBe(same[1]!.score);
    // N 3, df 1, tf 3, k1 .9, b 0: ln(1 + 2.5/1.5) · 3/(3 + .9).
    expect(same[0]!.score).toBeCloseTo((Math.log(1 + 2.5 / 1.5) * 3) / 3.9, 6);
  });

  it("refuses what has no meaning", () => {
    expect(() => likelihoodSearch(two.inverted, { kind: "dirichlet", mu: 0 })).toThrow(/mu > 0/);
    expect(() => relevanceModel(two, { originalWeight: 2 })).toThrow(/0\.\.1/);
    expect(() => buildBm25f([], { title: 0 })).toThrow(/at least 1/);
  });
});
