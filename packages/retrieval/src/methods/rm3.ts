/** BM25 with questions expanded by the words of what a first search finds, as Anserini's RM3 (see rm3.ts beside the indexes). */
import { defineMethod, throwIfAborted } from "@lfm/core";
import { z } from "zod";
import { type Bm25Index, buildBm25 } from "../index/bm25-index.js";
import { passagesInput, queriesInput, type SearchInputs, type SearchOutput } from "../inputs.js";
import { relevanceModel } from "../rm3.js";
import { analyzerNamed, analyzerNames } from "../text/analyzer.js";
import { searchAll } from "./search-all.js";

const config = z.strictObject({
  documents: z.number().int().positive().default(10).describe("passages of the first search that words are taken from"),
  terms: z.number().int().positive().default(10).describe("words that a question is expanded by"),
  originalWeight: z.number().min(0).max(1).default(0.5).describe("weight of the question as it was asked; 1 is bm25"),
  k1: z.number().min(0).default(0.9).describe("k1, saturation of the term frequency"),
  b: z.number().min(0).max(1).default(0.4).describe("b, weight of the document length"),
  analyzer: z.enum(analyzerNames).default("english").describe("how words are taken"),
  depth: z.number().int().positive().default(1000).describe("passages found per query"),
});

export const rm3 = defineMethod({
  id: "rm3",
  paradigm: "retrieval",
  summary: "Finds passages by the question's words and those of the first passages found.",
  paper: {
    title: "UMass at TREC 2004: Novelty and HARD",
    url: "https://trec.nist.gov/pubs/trec13/papers/umass.novelty.hard.pdf",
    year: 2004,
    survey: "3.3 database augmentation",
  },
  needs: [],
  inputs: { passages: passagesInput, queries: queriesInput },
  config,
  async run(inputs: SearchInputs, c, context): Promise<SearchOutput<Bm25Index>> {
    throwIfAborted(context.signal, "[@lfm/retrieval] rm3");
    const index = buildBm25(inputs.passages, { k1: c.k1, b: c.b, analyzer: analyzerNamed(c.analyzer) });
    const { search } = relevanceModel(index, { documents: c.documents, terms: c.terms, originalWeight: c.originalWeight });
    return { run: searchAll("rm3", inputs.queries, context, (text) => search(text, c.depth)), index };
  },
});
