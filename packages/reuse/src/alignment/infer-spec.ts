import { LfmError, type Model } from "@lfm/core";
import { chainSpec } from "./chain-spec.js";
import type { PermutationSpec } from "./permutation-spec.js";
import { transformerSpec } from "./transformer-spec.js";

const chains: readonly string[] = ["mlp", "convnet"];
const transformers: readonly string[] = ["gpt2", "llama", "mistral", "qwen2", "qwen3", "gemma", "gemma2", "gemma3_text", "bert", "vit"];

/**
 * The permutation symmetries of a model, from its sites and parameter names: hidden layers of mlp and convnet; the residual stream, MLPs and
 * attention heads of gpt2, llama and those after it, bert and vit. What is permuted leaves `logits` (and `pooled` of an encoder) as they are;
 * hidden states come out in another order.
 * @throws {LfmError} CAPABILITY_MISSING for an architecture whose wiring is not known, or a parameter that no rule covers
 */
export function permutationSpec(model: Model): PermutationSpec {
  const { architecture } = model.info;
  if (chains.includes(architecture)) return chainSpec(model.info);
  if (transformers.includes(architecture)) return transformerSpec(model);
  throw new LfmError("CAPABILITY_MISSING", `[@lfm/reuse] alignment: the wiring of "${architecture}" is not known`, {
    hint: `known: ${[...chains, ...transformers].join(", ")}; or give a PermutationSpec of your own`,
    details: { architecture },
  });
}
