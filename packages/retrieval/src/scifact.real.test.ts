import { createHash } from "node:crypto";
import { existsSync, mkdirSync, readFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type Engine, ortEngine, Rng, runMethod } from "@lfm/core";
import { loadSciFact, type RetrievalSet, type Run } from "@lfm/data";
import { createEncoder, loadModel } from "@lfm/models";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import {
  bm25,
  createVectorIndex,
  englishAnalyzer,
  hybrid,
  loadVectorIndex,
  measure,
  passageText,
  reciprocalRankFusion,
  type VectorIndex,
} from "./index.js";

const data = process.env.LFM_DATA ?? "";
const models = process.env.LFM_MODELS ?? "";
const goldenOf = <T>(name: string): T => JSON.parse(readFileSync(new URL(`../test/golden/${name}`, import.meta.url), "utf8")) as T;
interface Figures {
  readonly ndcg_cut_10: number;
  readonly recall_100: number;
  readonly map: number;
  readonly recip_rank: number;
}

/** nDCG@10 of Anserini's regression page for BEIR SciFact, flat BM25. */
const ANSERINI = 0.6789;

let set: RetrievalSet;
let engine: Engine;
beforeAll(async () => {
  if (data !== "") set = await loadSciFact({ folder: data });
  engine = await ortEngine();
});
afterAll(() => engine.dispose());
const context = () => ({ engine, rng: new Rng(1), access: ["activations"] as const, log: () => {}, progress: () => {} });
const figures = (run: Run): Figures => {
  const of = (name: string): number => measure(run, set.splits.test.qrels, name).mean;
  return { ndcg_cut_10: of("ndcg@10"), recall_100: of("recall@100"), map: of("map"), recip_rank: of("mrr") };
};
const wordRun = async (): Promise<Run> =>
  (await runMethod(bm25, { passages: set.documents, queries: set.splits.test.queries }, {}, context())).run;

describe.skipIf(data === "")("BM25 on SciFact (skipped without LFM_DATA)", () => {
  const golden = goldenOf<{ termsSha256: string; figures: Figures; top10: Record<string, [string, number][]> }>("scifact-lucene.json");

  it("analyses all 5,183 abstracts as Lucene does", () => {
    const analyzer = englishAnalyzer();
    const hash = createHash("sha256");
    for (const document of set.documents) hash.update(`${analyzer.analyze(passageText(document)).join("\t")}\n`);
    expect(hash.digest("hex")).toBe(golden.termsSha256);
  });

  it("has Lucene's scores and Anserini's nDCG@10", async () => {
    const run = await wordRun();
    for (const [query, hits] of run)
      expect(hits.slice(0, 10).map((hit) => hit.score)).toEqual(golden.top10[query]!.map(([, s]) => Math.fround(s)));
    const ours = figures(run);
    console.info("SciFact BM25", JSON.stringify(ours), "Lucene", JSON.stringify(golden.figures));
    expect(Math.abs(ours.ndcg_cut_10 - ANSERINI)).toBeLessThan(0.004);
    // Measures of trec_eval on Lucene's run: ties fall by id in both.
    expect(ours.ndcg_cut_10).toBeCloseTo(golden.figures.ndcg_cut_10, 4);
    expect(ours.recall_100).toBeCloseTo(golden.figures.recall_100, 4);
  });
});

describe.skipIf(data === "" || models === "")("MiniLM on SciFact (skipped without LFM_DATA and LFM_MODELS)", () => {
  const golden = goldenOf<{ maxLength: number; figures: Figures }>("scifact-minilm.json");
  let dense: Run;

  it("is as good as the same model in transformers", async () => {
    const { model, tokenizer } = await loadModel(join(models, "all-MiniLM-L6-v2"));
    const encoder = await createEncoder(engine, model, tokenizer!, { pooling: "mean", maxLength: golden.maxLength });
    const index = await abstracts((texts) => encoder.encode(texts));
    const { queries } = set.splits.test;
    const found = await index.search(await encoder.encode(queries.map((q) => q.text)), 1000, { engine });
    await encoder.dispose();
    dense = new Map(queries.map((query, i) => [query.id, found[i]!]));
    const ours = figures(dense);
    console.info("SciFact MiniLM", JSON.stringify(ours), "transformers", JSON.stringify(golden.figures));
    expect(Math.abs(ours.ndcg_cut_10 - golden.figures.ndcg_cut_10)).toBeLessThan(0.01);
  });

  it("together with BM25 is at least as good as each", async () => {
    const words = await wordRun();
    const { run } = await runMethod(hybrid, { first: words, second: dense }, {}, context());
    expect(run).toEqual(new Map([...reciprocalRankFusion([words, dense])].map(([q, hits]) => [q, hits.slice(0, 1000)])));
    const ours = figures(run);
    console.info("SciFact hybrid", JSON.stringify(ours));
    expect(ours.ndcg_cut_10).toBeGreaterThanOrEqual(Math.max(figures(words).ndcg_cut_10, figures(dense).ndcg_cut_10));
  });

  /** The index of the abstracts; encoding takes minutes, so it is kept in the folder for temporary files. */
  async function abstracts(
    encode: (texts: readonly string[]) => ReturnType<Awaited<ReturnType<typeof createEncoder>>["encode"]>,
  ): Promise<VectorIndex> {
    const folder = join(tmpdir(), "lfm-real-tests");
    const path = join(folder, `scifact-minilm-vectors-${golden.maxLength}.safetensors`);
    if (existsSync(path)) return loadVectorIndex(path);
    mkdirSync(folder, { recursive: true });
    const vectors = await encode(set.documents.map(passageText));
    const index = createVectorIndex("Flat", vectors.shape[1]!);
    index.add(
      set.documents.map((d) => d.id),
      vectors,
    );
    await index.save(path);
    return index;
  }
});
