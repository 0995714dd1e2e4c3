/** BM25 over titles and texts as fields of different weights, as Lucene's combined fields (see index/combined-fields.ts). */
import { defineMethod, throwIfAborted } from "@lfm/core";
import { z } from "zod";
import { type Bm25fIndex, buildBm25f } from "../index/combined-fields.js";
import { passagesInput, queriesInput, type SearchInputs, type SearchOutput } from "../inputs.js";
import { analyzerNamed, analyzerNames } from "../text/analyzer.js";
import { searchAll } from "./search-all.js";

const config = z.strictObject({
  title: z.number().min(1).default(2).describe("weight of titles"),
  text: z.number().min(1).default(1).describe("weight of texts"),
  k1: z.number().min(0).default(0.9).describe("k1, saturation of the term frequency"),
  b: z.number().min(0).max(1).default(0.4).describe("b, weight of the document length"),
  analyzer: z.enum(analyzerNames).default("english").describe("how words are taken"),
  depth: z.number().int().positive().default(1000).describe("passages found per query"),
});

export const bm25f = defineMethod({
  id: "bm25f",
  paradigm: "retrieval",
  summary: "Finds passages by the words they share with the question, those of titles counting more.",
  paper: {
    title: "The Probabilistic Relevance Framework: BM25 and Beyond",
    url: "https://doi.org/10.1561/1500000019",
    year: 2009,
    survey: "3.3 database augmentation",
  },
  needs: [],
  inputs: { passages: passagesInput, queries: queriesInput },
  config,
  async run(inputs: SearchInputs, c, context): Promise<SearchOutput<Bm25fIndex>> {
    throwIfAborted(context.signal, "[@lfm/retrieval] bm25f");
    const index = buildBm25f(inputs.passages, { title: c.title, text: c.text, k1: c.k1, b: c.b, analyzer: analyzerNamed(c.analyzer) });
    return { run: searchAll("bm25f", inputs.queries, context, (text) => index.search(text, c.depth)), index };
  },
});
