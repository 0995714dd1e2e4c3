/**
 * Dense retrieval by an index that takes shortcuts: graphs (HNSW), inverted lists (IVF), quantised vectors (PQ, 8 bits, signs), as a factory string of faiss
 * names them. `index.audit()` of what comes out says what the shortcuts cost.
 */
import { defineMethod, type HostTensor, hostTensor, LfmError, throwIfAborted } from "@lfm/core";
import { z } from "zod";
import { checkQueries, type EncodedSearchInputs, passagesInput, queriesInput, type SearchOutput, textEncoderInput } from "../inputs.js";
import { parseFactory } from "../vectors/factory.js";
import { createVectorIndex, type VectorIndex } from "../vectors/vector-index.js";
import { encodePassages } from "./encode-passages.js";

const config = z.strictObject({
  index: z.string().default("HNSW32").describe("as faiss writes it: HNSW32; IVF64,Flat; IVF64,PQ48,RFlat; SQ8; LSH,RFlat"),
  metric: z.enum(["cosine", "inner-product", "l2"]).default("cosine").describe("how two vectors are compared"),
  efConstruction: z.number().int().positive().default(128).describe("HNSW: rows looked at for the links of a new one"),
  ef: z.number().int().positive().default(64).describe("HNSW: rows kept in view"),
  probes: z.number().int().positive().default(8).describe("IVF: lists looked into"),
  rescore: z.number().min(1).default(4).describe("RFlat: so many times the hits are compared again exactly"),
  depth: z.number().int().positive().default(100).describe("passages found per query"),
  batch: z.number().int().positive().default(256).describe("texts handed to the encoder at once"),
});

export const approximate = defineMethod({
  id: "approximate",
  paradigm: "retrieval",
  summary: "Finds passages by the similarity of their vectors to the question's without comparing all of them.",
  paper: {
    title: "Efficient and robust approximate nearest neighbor search using Hierarchical Navigable Small World graphs",
    arxiv: "1603.09320",
    year: 2016,
    survey: "3.3 database augmentation",
  },
  needs: ["activations"],
  inputs: { encoder: textEncoderInput, passages: passagesInput, queries: queriesInput },
  config,
  presets: {
    small: { summary: "8 bits a number in the graph, compared again by the vectors", config: { index: "HNSW32,SQ8,RFlat" } },
    lists: { summary: "64 inverted lists (needs as many passages and more)", config: { index: "IVF64,Flat" } },
  },
  async run(inputs: EncodedSearchInputs, c, context): Promise<SearchOutput<VectorIndex>> {
    const { passages, queries, encoder } = inputs;
    checkQueries("approximate", queries);
    parseFactory(c.index);
    if (passages.length === 0) throw new LfmError("CONFIG_INVALID", "[@lfm/retrieval] approximate: there are no passages");
    const parts: HostTensor[] = [];
    for await (const { vectors } of encodePassages("approximate", encoder, passages, c.batch, context)) parts.push(vectors);
    const d = parts[0]!.shape[1]!;
    const all = new Float32Array(passages.length * d);
    let at = 0;
    for (const { data } of parts) {
      all.set(data as Float32Array, at);
      at += data.length;
    }
    const vectors = hostTensor("f32", [passages.length, d], all);
    const index = createVectorIndex(c.index, d, { metric: c.metric, seed: context.rng.seed, efConstruction: c.efConstruction });
    index.train(vectors);
    index.add(
      passages.map((p) => p.id),
      vectors,
    );
    throwIfAborted(context.signal, "[@lfm/retrieval] approximate");
    const found =
      queries.length === 0
        ? []
        : await index.search(
            await encoder.encode(
              queries.map((q) => q.text),
              { role: "query" },
            ),
            c.depth,
            { ef: c.ef, probes: c.probes, rescore: c.rescore, ...(context.signal ? { signal: context.signal } : {}) },
          );
    return { run: new Map(queries.map((query, i) => [query.id, found[i]!])), index };
  },
});
