import { LfmError, selectRows } from "@lfm/core";
import { expectShape, type PeftForm } from "./peft-form.js";

/** PEFT's name of what all its prompt methods save: f32[v, hidden], or f32[v, 2·layers·width of keys] of a prefix. */
export const PROMPT_TENSOR = "prompt_embeddings";

/** Vectors in front of the embedded tokens as PEFT saves them, whatever they were learned through. */
export function promptForm(
  type: "PROMPT_TUNING" | "P_TUNING",
): Required<Pick<PeftForm<{ readonly numVirtualTokens: number }>, "type" | "write" | "read">> {
  return {
    type,
    write: (c, own, { info }) => {
      const sizes = { token_dim: info.hiddenSize, num_layers: info.layers, num_attention_heads: info.heads ?? null };
      return {
        options: { num_virtual_tokens: own[PROMPT_TENSOR]?.shape[0] ?? c.numVirtualTokens, ...sizes, num_transformer_submodules: 1 },
        tensors: own,
      };
    },
    read: ({ config: given, tensors }, { info }) => {
      const { [PROMPT_TENSOR]: stored, ...rest } = tensors;
      if (!stored) throw new LfmError("FILE_FORMAT", `[@lfm/tuning] the adapter holds no ${PROMPT_TENSOR}`);
      const [other] = Object.keys(rest);
      if (other !== undefined)
        throw new LfmError("OP_UNSUPPORTED", `[@lfm/tuning] a prompt with "${other}" trained beside it has no delta here`, {
          hint: "PEFT's classifiers read the prompt's first vector where ours read the text's first token",
        });
      expectShape(PROMPT_TENSOR, stored, [stored.shape[0]!, info.hiddenSize]);
      const v = given.peft_type === "PROMPT_TUNING" || given.peft_type === "P_TUNING" ? given.num_virtual_tokens : 0;
      // For an encoder-decoder PEFT keeps as many again for the decoder, where it never puts them.
      const doubled = info.task === "seq2seq-lm" && stored.shape[0] === 2 * v;
      const vectors = doubled
        ? selectRows(
            stored,
            Array.from({ length: v }, (_, i) => i),
          )
        : stored;
      if (vectors.shape[0] !== v)
        throw new LfmError("OP_UNSUPPORTED", `[@lfm/tuning] the adapter's ${vectors.shape[0]} vectors are not one for each virtual token`);
      return { config: { numVirtualTokens: v }, tensors: { [PROMPT_TENSOR]: vectors }, parameters: {} };
    },
  };
}
