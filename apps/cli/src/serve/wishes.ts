import type { ContinuationWishes, GenerateOptions } from "@lfm/models";
import type { GenerationFields } from "./request-fields.js";

/** What a request says of its continuation; what it leaves out, the model's folder says. */
export function wishesOf(body: GenerationFields, maxNewTokens: number): ContinuationWishes {
  const { temperature, top_p: topP, top_k: topK, min_p: minP, repetition_penalty: repetitionPenalty, stop } = body;
  return {
    maxNewTokens,
    beams: 1,
    ...given({ temperature, topP, topK, minP, repetitionPenalty }),
    ...(stop == null ? {} : { stop: typeof stop === "string" ? [stop] : stop }),
  };
}

/**
 * What changes logits beside the folder's rules, as OpenAI describes it: biases by token, a penalty for tokens that have come, and one for each time
 * that they have. Undefined where nothing is asked.
 */
export function adjustOf(body: GenerationFields): GenerateOptions["adjust"] {
  const { frequency_penalty: frequency, presence_penalty: presence, logit_bias: bias } = body;
  const biases = Object.entries(bias ?? {}).map(([token, by]) => [Number(token), by] as const);
  if (!frequency && !presence && biases.length === 0) return undefined;
  return (logits, { tokens }) => {
    for (const [token, by] of biases) if (token < logits.length) logits[token]! += by;
    const seen = new Set<number>();
    for (const token of tokens) {
      logits[token]! -= (frequency ?? 0) + (seen.has(token) ? 0 : (presence ?? 0));
      seen.add(token);
    }
  };
}

/** The entries that are said. */
function given<T extends object>(entries: T): { [K in keyof T]?: NonNullable<T[K]> } {
  return Object.fromEntries(Object.entries(entries).filter(([, value]) => value != null)) as { [K in keyof T]?: NonNullable<T[K]> };
}
