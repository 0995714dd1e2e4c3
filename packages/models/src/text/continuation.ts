import { LfmError } from "@lfm/core";
import type { GenerateOptions } from "../generation/generate-options.js";
import { isGreedy, type SamplingOptions } from "../generation/sampling.js";
import { requireKnown } from "./generation-config.js";
import { stopTexts } from "./stop-texts.js";
import type { TextRules } from "./text-rules.js";
import { TextStream } from "./text-stream.js";

/** What a caller says about a continuation; what is left out is the folder's word. */
export interface ContinuationWishes
  extends Pick<GenerateOptions, "temperature" | "topK" | "topP" | "minP" | "repetitionPenalty" | "noRepeatNgramSize" | "beams"> {
  readonly maxNewTokens?: number;
  /** Texts that end it, beside those that the folder names. */
  readonly stop?: readonly string[];
}

/** Options of a generator, and what of the text that comes out is the continuation. */
export interface Continuation {
  readonly options: GenerateOptions;
  /** Text of new tokens: without special tokens, up to a text that ends it. */
  text(tokens: readonly number[]): string;
  /** The same text piece by piece, for one continuation. */
  stream(): TextStream;
}

/** New tokens where nobody says how many, as transformers has it. */
const DEFAULT_NEW_TOKENS = 20;
/** Tokens that transformers draws among where a folder samples and does not say. */
const DEFAULT_TOP_K = 50;

/**
 * How a prompt is continued: as generation_config.json of the folder says, which is what transformers' `generate` does by default, and as the
 * caller wishes. A folder samples where it says `do_sample`; temperature 0 takes the most likely tokens all the same.
 * @param prompt its number of tokens: `max_length` counts them
 * @throws {LfmError} CAPABILITY_MISSING for a setting of the folder that changes the result and is not known here, CONFIG_INVALID for a prompt
 *   that is as long as `max_length`
 */
export function continuationOf(text: TextRules, prompt: number, wishes: ContinuationWishes = {}): Continuation {
  const g = text.generation;
  const asked = wishes.topK !== undefined || wishes.topP !== undefined || wishes.minP !== undefined;
  const samples = wishes.temperature === undefined ? asked || g.do_sample === true : wishes.temperature > 0;
  const sampling = samples ? samplingOf(text, wishes) : {};
  const beams = wishes.beams ?? g.num_beams ?? 1;
  requireKnown(g, { sampling: !isGreedy(sampling), beams: beams > 1 });
  // Of an answer the token that it begins with stands before the first new one, not the prompt.
  const before = text.answers ? 1 : prompt;
  const stops = stopTexts(text.tokenizer, [...(wishes.stop ?? []), ...listOf(g.stop_strings)]);
  const least = g.min_new_tokens ?? (g.min_length ?? 0) - before;
  const options: GenerateOptions = {
    maxNewTokens: wishes.maxNewTokens ?? g.max_new_tokens ?? restOf(g.max_length, before),
    ...sampling,
    ...defined({
      repetitionPenalty: wishes.repetitionPenalty ?? g.repetition_penalty,
      noRepeatNgramSize: wishes.noRepeatNgramSize ?? g.no_repeat_ngram_size,
      suppress: g.suppress_tokens,
      suppressFirst: g.begin_suppress_tokens,
      minNewTokens: least > 0 ? least : undefined,
      stopWhen: stops.reached,
    }),
    ...(beams > 1 ? { beams, ...defined({ lengthPenalty: g.length_penalty, earlyStopping: g.early_stopping === true }) } : {}),
    ...(text.ends.length > 0 ? { eos: text.ends } : {}),
    ...defined({ answerStart: text.answers?.start }),
  };
  return {
    options,
    text: (tokens) => stops.cut(text.tokenizer.decode(tokens, { skipSpecialTokens: true })),
    stream: () => new TextStream(text.tokenizer, stops),
  };
}

/** @returns new tokens where `most` are allowed in all. @throws {LfmError} CONFIG_INVALID for a prompt that takes them up */
function restOf(most: number | null | undefined, prompt: number): number {
  if (most == null) return DEFAULT_NEW_TOKENS;
  if (most > prompt) return most - prompt;
  throw new LfmError(
    "CONFIG_INVALID",
    `[@lfm/models] generation_config.json allows ${most} tokens in all (max_length), the prompt alone has ${prompt}`,
    { hint: "say how many new tokens there may be: --max-new-tokens 20, or max_new_tokens in the file" },
  );
}

/** @returns the folder's word where the caller has none; what changes nothing is left out */
function samplingOf({ generation: g }: TextRules, wishes: ContinuationWishes): SamplingOptions {
  const topK = wishes.topK ?? g.top_k ?? (g.do_sample === true ? DEFAULT_TOP_K : 0);
  const topP = wishes.topP ?? g.top_p ?? 1;
  return {
    temperature: wishes.temperature ?? g.temperature ?? 1,
    ...(topK > 0 ? { topK } : {}),
    ...(topP < 1 ? { topP } : {}),
    ...defined({ minP: wishes.minP ?? g.min_p }),
  };
}

function listOf(texts: string | readonly string[] | null | undefined): readonly string[] {
  return texts == null ? [] : typeof texts === "string" ? [texts] : texts;
}

/** The entries that are there; files say null for what they leave open. */
function defined<T extends object>(entries: T): { [K in keyof T]?: NonNullable<T[K]> } {
  return Object.fromEntries(Object.entries(entries).filter(([, value]) => value != null)) as { [K in keyof T]?: NonNullable<T[K]> };
}
