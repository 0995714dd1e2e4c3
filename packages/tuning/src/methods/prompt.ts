/** Prompt tuning (arXiv 2104.08691): v learned vectors stand before the embedded tokens; nothing else learns. */
import {
  add,
  broadcastTo,
  concat,
  dimAdd,
  expandDims,
  f32,
  full as filled,
  type Hook,
  iota,
  LfmError,
  loadWeight,
  type ParamTree,
  widenToF32,
} from "@lfm/core";
import { z } from "zod";
import { defineTuning, type TuningInputs } from "../define-tuning.js";
import { expectShape, type PeftForm } from "../peft-form.js";
import { trainingFields } from "../training-options.js";

/** PEFT's name for the learned vectors, f32[v, hidden]. */
const PROMPT_TENSOR = "prompt_embeddings";

const config = z.strictObject({
  numVirtualTokens: z.number().int().positive().default(20).describe("length v of the prompt, tokens"),
  init: z
    .enum(["vocabulary", "random"])
    .default("vocabulary")
    .describe("start from embeddings of random words, or from N(0, 1) as PEFT's RANDOM"),
  ...trainingFields,
});

function promptHooks(t: ParamTree): readonly Hook[] {
  const prompt = t[PROMPT_TENSOR]!;
  const v = prompt.dim(0);
  return [
    {
      matches: (site) => site.kind === "embedding",
      sequence: ({ embeddings, mask, positions, prefix }) => {
        const batch = embeddings.dim(0);
        const rows = broadcastTo(expandDims(prompt, 0), [batch, v, prompt.dim(1)]);
        const front = broadcastTo(expandDims(iota(v), 0), [batch, v]);
        return {
          embeddings: concat([rows, embeddings], 1),
          mask: concat([filled([batch, v], 1), mask], 1),
          positions: concat([front, add(positions, v as number)], 1),
          prefix: dimAdd(prefix, v),
        };
      },
    },
  ];
}

const peft: PeftForm<z.output<typeof config>> = {
  type: "PROMPT_TUNING",
  write: (c, own, { info }) => {
    const sizes = { token_dim: info.hiddenSize, num_layers: info.layers, num_attention_heads: info.heads ?? null };
    return {
      options: { num_virtual_tokens: own[PROMPT_TENSOR]?.shape[0] ?? c.numVirtualTokens, ...sizes, num_transformer_submodules: 1 },
      tensors: own,
    };
  },
  read: ({ config: given, tensors }, { info }) => {
    const { [PROMPT_TENSOR]: vectors, ...rest } = tensors;
    if (!vectors) throw new LfmError("FILE_FORMAT", `[@lfm/tuning] the adapter holds no ${PROMPT_TENSOR}`);
    const [other] = Object.keys(rest);
    if (other !== undefined)
      throw new LfmError("OP_UNSUPPORTED", `[@lfm/tuning] a prompt with "${other}" trained beside it has no delta here`, {
        hint: "PEFT's classifiers read the prompt's first vector where ours read the text's first token",
      });
    expectShape(PROMPT_TENSOR, vectors, [vectors.shape[0]!, info.hiddenSize]);
    const v = vectors.shape[0]!;
    if (given.peft_type !== "PROMPT_TUNING" || given.num_virtual_tokens !== v)
      throw new LfmError("OP_UNSUPPORTED", `[@lfm/tuning] the adapter's ${v} vectors are not one for each virtual token`, {
        hint: "prompts of encoder and decoder apart (num_transformer_submodules: 2) have no delta here",
      });
    return { config: { numVirtualTokens: v }, tensors: { [PROMPT_TENSOR]: vectors }, parameters: {} };
  },
};

export const prompt = defineTuning({
  id: "prompt",
  summary: "Learns vectors that stand before the embedded input.",
  paper: {
    title: "The Power of Scale for Parameter-Efficient Prompt Tuning",
    arxiv: "2104.08691",
    year: 2021,
    survey: "3.2 input engineering",
  },
  config,
  delta: { hooks: (_c, tensors) => promptHooks(tensors) },
  peft,
  training: (c) => c,
  start: (inputs, c, context) => {
    const { hiddenSize, input, architecture, maxLength } = inputs.model.info;
    if (input !== "tokens") throw new LfmError("CAPABILITY_MISSING", `[@lfm/tuning] prompt: ${architecture} reads ${input}, not tokens`);
    if (maxLength !== undefined && c.numVirtualTokens >= maxLength)
      throw new LfmError(
        "CONFIG_INVALID",
        `[@lfm/tuning] prompt: ${c.numVirtualTokens} virtual tokens leave no place for text in ${maxLength} positions`,
      );
    const rng = context.rng.split("init");
    const data = c.init === "random" ? rng.normalArray(c.numVirtualTokens * hiddenSize) : vocabularyRows(inputs, c.numVirtualTokens, rng);
    return { learned: { [PROMPT_TENSOR]: f32(data, [c.numVirtualTokens, hiddenSize]) } };
  },
});

function vocabularyRows({ model }: TuningInputs, v: number, rng: { int(n: number): number }): Float32Array {
  const site = model.info.sites.find((s) => s.kind === "embedding" && s.weight);
  if (!site?.weight) throw new LfmError("CAPABILITY_MISSING", "[@lfm/tuning] prompt: the model names no token embedding; use init random");
  const table = widenToF32(loadWeight(model.params[site.weight.name]!));
  const [rows, d] = table.shape as readonly [number, number];
  const out = new Float32Array(v * d);
  for (let i = 0; i < v; i++) out.set((table.data as Float32Array).subarray(rng.int(rows) * d).subarray(0, d), i * d);
  return out;
}
