/**
 * Dense retrieval (arXiv 2004.04906, without its training): passages and questions are encoded by the same model, and every passage is
 * compared with every question: exact search, the yardstick of every approximate index.
 */
import { defineMethod, LfmError, throwIfAborted } from "@lfm/core";
import { z } from "zod";
import { checkQueries, type EncodedSearchInputs, passagesInput, queriesInput, type SearchOutput, textEncoderInput } from "../inputs.js";
import { createVectorIndex, type VectorIndex } from "../vectors/vector-index.js";
import { encodePassages } from "./encode-passages.js";

const config = z.strictObject({
  metric: z.enum(["cosine", "inner-product"]).default("cosine").describe("how two vectors are compared"),
  depth: z.number().int().positive().default(1000).describe("passages found per query"),
  batch: z.number().int().positive().default(256).describe("texts handed to the encoder at once"),
});

export const flat = defineMethod({
  id: "flat",
  paradigm: "retrieval",
  summary: "Finds passages by the similarity of their vectors to the question's, compared with all of them.",
  paper: {
    title: "Dense Passage Retrieval for Open-Domain Question Answering",
    arxiv: "2004.04906",
    year: 2020,
    survey: "3.3 database augmentation",
  },
  needs: ["activations"],
  inputs: { encoder: textEncoderInput, passages: passagesInput, queries: queriesInput },
  config,
  async run(inputs: EncodedSearchInputs, c, context): Promise<SearchOutput<VectorIndex>> {
    const { passages, queries, encoder } = inputs;
    checkQueries("flat", queries);
    if (passages.length === 0) throw new LfmError("CONFIG_INVALID", "[@lfm/retrieval] flat: there are no passages");
    let index: VectorIndex | undefined;
    for await (const { part, vectors } of encodePassages("flat", encoder, passages, c.batch, context)) {
      index ??= createVectorIndex("Flat", vectors.shape[1] ?? 0, { metric: c.metric });
      index.add(
        part.map((p) => p.id),
        vectors,
      );
    }
    throwIfAborted(context.signal, "[@lfm/retrieval] flat");
    const questions =
      queries.length === 0
        ? undefined
        : await encoder.encode(
            queries.map((q) => q.text),
            { role: "query" },
          );
    const options = { engine: context.engine, ...(context.signal ? { signal: context.signal } : {}) };
    const found = questions ? await index!.search(questions, c.depth, options) : [];
    return { run: new Map(queries.map((query, i) => [query.id, found[i]!])), index: index! };
  },
});
