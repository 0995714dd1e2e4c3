import { join } from "node:path";
import { type CellOutcome, checkProvided, LfmError } from "@lfm/core";
import { loadSciFact } from "@lfm/data";
import { createEncoder, loadModel } from "@lfm/models";
import { measure, passageText, type TextEncoder } from "@lfm/retrieval";
import type { CellContext, Scenario } from "../../scenario.js";
import { findPassages, fraction, searched } from "./search.js";

/** Tokens per text, as the model's own settings say. */
const MAX_LENGTH = 256;

/** SciFact of BEIR: title and text of 5,183 abstracts in one field, 300 claims, nothing tuned. */
export const scifact: Scenario = {
  id: "scifact",
  paradigm: "retrieval",
  model: "all-MiniLM-L6-v2",
  summary: "Finds the abstracts that bear on a scientific claim; nDCG@10 over the 300 test claims of SciFact, as trec_eval takes it.",
  headline: "ndcg@10",
  access: ["activations"],
  requires: ["data", "models"],
  async run(cell, context): Promise<CellOutcome> {
    checkProvided("[@lfm/bench] scifact", cell.method, cell.config, searched);
    const { data, models } = context.folders;
    if (data === undefined || models === undefined) {
      throw new LfmError("CAPABILITY_MISSING", "[@lfm/bench] scifact needs real data and a model", { hint: "set LFM_DATA and LFM_MODELS" });
    }
    const set = await loadSciFact({ folder: data });
    const { queries, qrels } = set.splits.test;
    const encoder = await memorized(join(models, "all-MiniLM-L6-v2"), set.documents.map(passageText), context);
    const started = performance.now();
    const { run, bytes } = await findPassages("scifact", cell, { passages: set.documents, queries, encoder, analyzer: "english" }, context);
    const searchMs = performance.now() - started;
    const of = (name: string, note: string) => fraction(measure(run, qrels, name).mean, note);
    return {
      metrics: {
        "ndcg@10": of("ndcg@10", "gain by rank among the first 10, mean of 300 claims"),
        "recall@100": of("recall@100", "share of the relevant abstracts among the first 100"),
        map: of("map", "mean average precision"),
        mrr: of("mrr", "mean of 1 / rank of the first relevant abstract"),
      },
      retention: null,
      trainableParams: 0,
      bytes,
      queries: 0,
      dataUsed: 0,
      monitors: [],
      curves: {},
      phasesMs: { search: searchMs },
    };
  },
};

/** An encoder that has the abstracts' vectors already: they are computed once per run of the benchmark. */
async function memorized(folder: string, texts: readonly string[], context: CellContext): Promise<TextEncoder> {
  const { encoder, known } = await context.shared(`retrieval/scifact/${folder}`, async () => {
    const { model, tokenizer } = await loadModel(folder);
    if (!tokenizer) throw new LfmError("CAPABILITY_MISSING", `[@lfm/bench] ${folder} has no tokenizer`);
    const loaded = await createEncoder(context.engine, model, tokenizer, { pooling: "mean", maxLength: MAX_LENGTH });
    return { encoder: loaded, known: new Map<string, Float32Array>() };
  });
  const d = encoder.dimension;
  return {
    encode: async (wanted) => {
      const fresh = [...new Set(wanted.filter((text) => !known.has(text)))];
      if (fresh.length > 0) {
        const { data } = await encoder.encode(fresh, context.signal ? { signal: context.signal } : {});
        fresh.forEach((text, i) => {
          known.set(text, (data as Float32Array).slice(i * d, (i + 1) * d));
        });
        context.progress({ phase: "encode", done: Math.min(known.size, texts.length), total: texts.length, unit: "abstracts" });
      }
      const out = new Float32Array(wanted.length * d);
      wanted.forEach((text, i) => {
        out.set(known.get(text)!, i * d);
      });
      return { dtype: "f32", shape: [wanted.length, d], data: out };
    },
  };
}
