/** Query likelihood over an inverted index, smoothed as Lucene and Anserini do it (see index/language-model.ts). */
import { defineMethod, throwIfAborted } from "@lfm/core";
import { z } from "zod";
import { type Bm25Index, buildBm25 } from "../index/bm25-index.js";
import { likelihoodSearch } from "../index/language-model.js";
import { passagesInput, queriesInput, type SearchInputs, type SearchOutput } from "../inputs.js";
import { analyzerNamed, analyzerNames } from "../text/analyzer.js";
import { searchAll } from "./search-all.js";

const config = z.strictObject({
  smoothing: z
    .enum(["dirichlet", "jelinek-mercer"])
    .default("dirichlet")
    .describe("how the document's frequencies and the collection's are mixed"),
  mu: z.number().positive().default(1000).describe("μ of dirichlet: words of the collection that are added to a document"),
  lambda: z.number().gt(0).max(1).default(0.1).describe("λ of jelinek-mercer: the collection's share"),
  analyzer: z.enum(analyzerNames).default("english").describe("how words are taken"),
  depth: z.number().int().positive().default(1000).describe("passages found per query"),
});

export const queryLikelihood = defineMethod({
  id: "query-likelihood",
  paradigm: "retrieval",
  summary: "Finds passages by how likely their words make the question.",
  paper: {
    title: "A Study of Smoothing Methods for Language Models Applied to Ad Hoc Information Retrieval",
    url: "https://doi.org/10.1145/383952.384019",
    year: 2001,
    survey: "3.3 database augmentation",
  },
  needs: [],
  inputs: { passages: passagesInput, queries: queriesInput },
  config,
  presets: { "jelinek-mercer": { summary: "linear mixture, λ 0.1, as Anserini's -qljm", config: { smoothing: "jelinek-mercer" } } },
  async run(inputs: SearchInputs, c, context): Promise<SearchOutput<Bm25Index>> {
    throwIfAborted(context.signal, "[@lfm/retrieval] query-likelihood");
    const index = buildBm25(inputs.passages, { analyzer: analyzerNamed(c.analyzer) });
    const { smoothing: kind, mu, lambda } = c;
    const scores = likelihoodSearch(index.inverted, kind === "dirichlet" ? { kind, mu } : { kind, lambda });
    return { run: searchAll("query-likelihood", inputs.queries, context, (text) => scores.search(index.analyze(text), c.depth)), index };
  },
});
