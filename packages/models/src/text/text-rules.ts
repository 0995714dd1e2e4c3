import { inputKind, LfmError, type ModelInfo } from "@lfm/core";
import type { Tokenizer } from "@lfm/formats";
import { type ChatTemplate, readChatTemplate } from "./chat-template.js";
import { type GenerationConfig, readGenerationConfig } from "./generation-config.js";
import { type ReadingLimits, requireRows } from "./model-tokenizer.js";

/**
 * How text becomes ids for one model, and what ends it: what its folder says, in one place. Everything that feeds text to a model or takes text
 * from it goes by this.
 */
export interface TextRules {
  readonly tokenizer: Tokenizer;
  /** Ids in front of a text: what the tokenizer itself puts there. A bos that is only named is not put anywhere. */
  readonly start: readonly number[];
  /** Ids that close a text that is learned: what the tokenizer itself puts behind it, with an end-of-text token at last where there is one. */
  readonly close: readonly number[];
  /**
   * Ids that end a continuation: those of generation_config.json, which where it is there is all that counts, as in transformers; else those of
   * config.json, else the tokenizer's eos.
   */
  readonly ends: readonly number[];
  /** What stands for a prompt without any token: the bos that the folder names. */
  readonly begin: readonly number[];
  /** How the folder wants to be continued; {} where it does not say. */
  readonly generation: GenerationConfig;
  /** How it writes conversations; undefined where it has no template. */
  readonly chat: ChatTemplate | undefined;
  /**
   * Of an encoder-decoder, which does not go on from a text: its encoder reads the text, with all that the tokenizer puts around it, and the answer
   * begins with a token of its own, where one is named.
   */
  readonly answers?: { readonly start: number | undefined };
  /** Tokens that the model reads at most; undefined where it has no limit. */
  readonly maxLength: number | undefined;
  /** Rows of the model's embedding. */
  readonly rows: number | undefined;
}

/** The rules of the first model. */
export const textRulesInput = inputKind<TextRules>("text-rules");

/**
 * The rules of a model folder: its tokenizer, generation_config.json, config.json and chat template.
 * @param tokenizer of the folder
 * @param config config.json as it stands
 * @param limits of the model
 * @throws {LfmError} FILE_IO, FILE_FORMAT for a generation_config.json or a chat template that is none
 */
export function readTextRules(
  folder: string,
  tokenizer: Tokenizer,
  config: Readonly<Record<string, unknown>> = {},
  limits: TextReader = {},
): TextRules {
  const [generation, chat] = [readGenerationConfig(folder), readChatTemplate(folder)];
  return textRules(tokenizer, { config, limits, ...(generation ? { generation } : {}), ...(chat ? { chat } : {}) });
}

/** What files of a folder say beside its tokenizer. */
export interface TextFiles {
  readonly generation?: GenerationConfig;
  readonly config?: Readonly<Record<string, unknown>>;
  readonly chat?: ChatTemplate;
  /** Of the model that reads the ids. */
  readonly limits?: TextReader;
}

/** What of a model decides how it reads text. */
export type TextReader = ReadingLimits & Partial<Pick<ModelInfo, "task" | "answerStart">>;

/** The rules of a tokenizer alone, or with what files say beside it. */
export function textRules(tokenizer: Tokenizer, { generation, config = {}, chat, limits = {} }: TextFiles = {}): TextRules {
  const { around, specials, vocabSize } = tokenizer;
  const ends = generation ? idsOf(generation.eos_token_id) : firstOf(idsOf(config.eos_token_id), idsOf(specials.eos));
  const eos = specials.eos ?? ends.find((id) => id < vocabSize);
  const begin = firstOf(idsOf(generation?.bos_token_id), idsOf(config.bos_token_id), idsOf(specials.bos)).slice(0, 1);
  const closed = around.after.some((id) => id === specials.eos || ends.includes(id));
  return {
    tokenizer,
    start: around.before,
    close: closed || eos === undefined ? around.after : [...around.after, eos],
    ends,
    begin,
    generation: generation ?? {},
    chat,
    ...(limits.task === "seq2seq-lm" ? { answers: { start: generation?.decoder_start_token_id ?? limits.answerStart ?? begin[0] } } : {}),
    maxLength: limits.maxLength,
    rows: limits.vocabSize,
  };
}

/** @throws {LfmError} CONFIG_INVALID naming token, id and rows for ids that the model's embedding has no rows for */
export function requireRead({ tokenizer, rows }: Pick<TextRules, "tokenizer" | "rows">, ids: readonly number[]): void {
  requireRows(tokenizer, ids, rows);
}

/** Ids of a text without anything around it. */
export function idsOfText({ tokenizer }: Pick<TextRules, "tokenizer">, text: string): readonly number[] {
  return tokenizer.encode(text, { addSpecialTokens: false }).ids;
}

/**
 * Ids of a text and of what follows it, as they are read together: what comes behind a text alone may begin with other tokens. Where a token
 * would span both, each is read by itself, for a prompt that is continued ends with its own tokens.
 */
export function idsOfBoth(
  text: Pick<TextRules, "tokenizer">,
  first: string,
  second: string,
): { readonly head: readonly number[]; readonly tail: readonly number[] } {
  const head = idsOfText(text, first);
  const whole = idsOfText(text, first + second);
  const together = whole.length > head.length && head.every((id, i) => whole[i] === id);
  return { head, tail: together ? whole.slice(head.length) : idsOfText(text, second) };
}

/**
 * Ids to go on from, or for an encoder to read, as transformers' `generate` is given them: the text with all that the tokenizer puts around it.
 * @throws {LfmError} CONFIG_INVALID for a text without tokens where the folder names no bos
 */
export function promptIds(text: TextRules, prompt: string): readonly number[] {
  const { ids } = text.tokenizer.encode(prompt);
  const found = ids.length > 0 ? ids : text.begin;
  if (found.length > 0) return found;
  throw new LfmError(
    "CONFIG_INVALID",
    `[@lfm/models] the prompt ${JSON.stringify(prompt)} has no token, and the model names none to begin with`,
  );
}

function firstOf(...lists: readonly (readonly number[])[]): readonly number[] {
  return lists.find((ids) => ids.length > 0) ?? [];
}

/** An id or a list of them; −1 and null, as files have them, are none. */
function idsOf(value: unknown): readonly number[] {
  return (Array.isArray(value) ? value : [value]).filter((id): id is number => Number.isInteger(id) && (id as number) >= 0);
}
