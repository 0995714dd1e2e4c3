/**
 * Merges LoRA adapters of one base without the base, as PEFT's `add_weighted_adapter` (sᵢ = the adapter's own scale α/r, wᵢ its weight):
 * - `linear`: A = Σ ±√|wᵢsᵢ|·Aᵢ, B = Σ √|wᵢsᵢ|·Bᵢ, the sign on A: of equal ranks, cheap, and rough, for products of different adapters mix;
 * - `cat`: A = [wᵢsᵢAᵢ; …], B = [Bᵢ, …]: exactly Σ wᵢsᵢBᵢAᵢ, of the sum of the ranks;
 * - `svd`: the best approximation of that sum of the rank that is asked for (default: the largest of the adapters').
 * α is the rank afterwards, so that ΔW = B·A. PEFT decomposes the full ΔW; here the stacked factors, which gives the same and never forms it.
 * Of n adapters of one scale, `linear` with weights 1/n² is the mean of the A and the mean of the B, as federated LoRA takes (arXiv 2305.05644).
 */

import { defineMethod, type HostTensor, LfmError, throwIfAborted } from "@lfm/core";
import { type LoraLayer, loraParts, namedRecord, type PeftAdapter, type PeftConfigInput } from "@lfm/formats";
import { z } from "zod";
import { adaptersInput } from "../input-kinds.js";
import { combine } from "../lora/combine.js";

export interface MergeLoraInputs {
  /** Adapters of one base, by name. A module that some of them lack takes the sum of the others. */
  readonly adapters: Readonly<Record<string, PeftAdapter>>;
}

export interface MergeLoraOutput {
  /** For `writePeftAdapter`. */
  readonly adapter: { readonly config: PeftConfigInput; readonly tensors: Readonly<Record<string, HostTensor>> };
}

export const mergeLora = defineMethod({
  id: "merge-lora",
  paradigm: "reuse",
  summary: "Merges LoRA adapters into one: averaged, concatenated, or reduced by singular values.",
  paper: {
    title: "PEFT: State-of-the-art Parameter-Efficient Fine-Tuning methods",
    url: "https://github.com/huggingface/peft",
    year: 2022,
  },
  needs: ["weights"],
  inputs: { adapters: adaptersInput },
  config: z.strictObject({
    weight: z
      .union([z.number(), z.array(z.number())])
      .default(1)
      .describe("weight w of each adapter; one for all, or one per adapter"),
    combination: z.enum(["linear", "cat", "svd"]).default("svd").describe("how factors are combined; cat and svd are exact up to the rank"),
    rank: z.number().int().positive().optional().describe("rank of the result for svd; default the largest of the adapters"),
  }),
  run: async ({ adapters }: MergeLoraInputs, c, context): Promise<MergeLoraOutput> => {
    const names = Object.keys(adapters);
    if (names.length === 0) throw new LfmError("CONFIG_INVALID", "[@lfm/reuse] merge-lora: give at least one adapter");
    const weights = typeof c.weight === "number" ? names.map(() => c.weight as number) : c.weight;
    if (weights.length !== names.length)
      throw new LfmError("CONFIG_INVALID", `[@lfm/reuse] merge-lora: ${weights.length} weights for ${names.length} adapters`);
    const parts = names.map((name) => plainLora(name, adapters[name]!));
    const first = adapters[names[0]!]!.config;
    const paths = [...new Set(parts.flatMap((p) => Object.keys(p)))];
    const rank = c.rank ?? Math.max(...parts.flatMap((p) => Object.values(p).map((l) => l.r)));
    const [tensors, ranks] = [namedRecord<HostTensor>(), namedRecord<number>()];
    for (const [done, path] of paths.entries()) {
      throwIfAborted(context.signal, `[@lfm/reuse] merge-lora at "${path}"`);
      const own = parts.flatMap((p, i) => (p[path] ? [{ layer: p[path], weight: weights[i]! }] : []));
      const { a, b } = combine(path, own, c.combination, rank);
      const embedding = own[0]!.layer.embedding;
      ranks[path] = a.shape[0]!;
      tensors[embedding ? `${path}.lora_embedding_A` : `${path}.lora_A.weight`] = a;
      tensors[embedding ? `${path}.lora_embedding_B` : `${path}.lora_B.weight`] = b;
      context.progress({ phase: "merge", done: done + 1, total: paths.length, unit: "layer" });
    }
    const r = Math.max(...Object.values(ranks));
    const pattern = Object.fromEntries(Object.entries(ranks).filter(([, own]) => own !== r));
    const config = {
      ...first,
      r,
      lora_alpha: r,
      use_rslora: false,
      rank_pattern: pattern,
      alpha_pattern: pattern,
      target_modules: paths,
      modules_to_save: null,
    } as PeftConfigInput;
    return { adapter: { config, tensors } };
  },
});

/** @throws {LfmError} OP_UNSUPPORTED for what is more than A and B */
function plainLora(name: string, adapter: PeftAdapter): Readonly<Record<string, LoraLayer>> {
  const { layers, parameters, tokens } = loraParts(adapter);
  const more = [
    ...(Object.keys(tokens).length > 0 ? ["rows of embeddings"] : []),
    ...(Object.keys(parameters).length > 0 ? ["parameters that were trained in full"] : []),
    ...(Object.values(layers).some((l) => l.magnitude) ? ["DoRA"] : []),
    ...(Object.values(layers).some((l) => l.bias) ? ["biases of B"] : []),
  ];
  if (more.length > 0)
    throw new LfmError("OP_UNSUPPORTED", `[@lfm/reuse] merge-lora: adapter "${name}" has ${more.join(", ")}`, {
      hint: "merge the adapters into their base and merge the models; lfm merge extract-lora --no-save-modules leaves full parameters out",
    });
  return layers;
}
