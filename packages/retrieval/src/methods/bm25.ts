/**
 * BM25 over an inverted index, formula and analysis as in Lucene and Anserini (see index/bm25-index.ts). A score is reproducible only
 * together with analyzer, k1, b and what of a document is indexed: here title and text in one field ("flat" in Anserini's tables).
 */
import { defineMethod, throwIfAborted } from "@lfm/core";
import { z } from "zod";
import { type Bm25Index, buildBm25 } from "../index/bm25-index.js";
import { passagesInput, queriesInput, type SearchInputs, type SearchOutput } from "../inputs.js";
import { analyzerNamed, analyzerNames } from "../text/analyzer.js";
import { searchAll } from "./search-all.js";

const config = z.strictObject({
  k1: z.number().min(0).default(0.9).describe("k1, saturation of the term frequency"),
  b: z.number().min(0).max(1).default(0.4).describe("b, weight of the document length"),
  lengths: z.enum(["lucene", "exact"]).default("lucene").describe("document lengths in one byte as Lucene keeps them, or exact"),
  analyzer: z
    .enum(analyzerNames)
    .default("english")
    .describe("english: stop words and Porter's stemmer; words: lower case only; cjk; or a language"),
  depth: z.number().int().positive().default(1000).describe("passages found per query"),
});

export const bm25 = defineMethod({
  id: "bm25",
  paradigm: "retrieval",
  summary: "Finds passages by the words they share with the question.",
  paper: {
    title: "The Probabilistic Relevance Framework: BM25 and Beyond",
    url: "https://doi.org/10.1561/1500000019",
    year: 2009,
    survey: "3.3 database augmentation",
  },
  needs: [],
  inputs: { passages: passagesInput, queries: queriesInput },
  config,
  presets: { robertson: { summary: "k1 1.2, b 0.75, as Lucene and Elasticsearch by default", config: { k1: 1.2, b: 0.75 } } },
  async run(inputs: SearchInputs, c, context): Promise<SearchOutput<Bm25Index>> {
    throwIfAborted(context.signal, "[@lfm/retrieval] bm25");
    const index = buildBm25(inputs.passages, { k1: c.k1, b: c.b, lengths: c.lengths, analyzer: analyzerNamed(c.analyzer) });
    return { run: searchAll("bm25", inputs.queries, context, (text) => index.search(text, c.depth)), index };
  },
});
