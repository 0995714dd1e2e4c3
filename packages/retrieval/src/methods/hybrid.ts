/** Two runs made one: by ranks (reciprocal rank fusion) or by scores (convex combination after min-max scaling). */

import { defineMethod, throwIfAborted } from "@lfm/core";
import type { Run } from "@lfm/data";
import { z } from "zod";
import { convexFusion, reciprocalRankFusion } from "../fusion.js";
import { runInput } from "../inputs.js";

export interface HybridInputs {
  readonly first: Run;
  readonly second: Run;
}

const config = z.strictObject({
  fusion: z.enum(["rrf", "convex"]).default("rrf").describe("rrf: by ranks; convex: by scores scaled to 0..1"),
  k: z.number().min(0).default(60).describe("k of 1/(k + rank), for rrf"),
  alpha: z.number().min(0).max(1).default(0.5).describe("α, weight of the first run, for convex"),
  depth: z.number().int().positive().default(1000).describe("passages kept per query"),
});

export const hybrid = defineMethod({
  id: "hybrid",
  paradigm: "retrieval",
  summary: "Joins two runs, say of words and of vectors, into one.",
  paper: {
    title: "Reciprocal Rank Fusion outperforms Condorcet and individual Rank Learning Methods",
    url: "https://doi.org/10.1145/1571941.1572114",
    year: 2009,
    survey: "3.3 database augmentation",
  },
  needs: [],
  inputs: { first: runInput, second: runInput },
  config,
  presets: { convex: { summary: "by scores, both halves alike (arXiv 2210.11934)", config: { fusion: "convex" } } },
  async run(inputs: HybridInputs, c, context): Promise<{ readonly run: Run }> {
    throwIfAborted(context.signal, "[@lfm/retrieval] hybrid");
    const fused =
      c.fusion === "rrf" ? reciprocalRankFusion([inputs.first, inputs.second], c.k) : convexFusion(inputs.first, inputs.second, c.alpha);
    return { run: new Map([...fused].map(([query, hits]) => [query, hits.slice(0, c.depth)])) };
  },
});
