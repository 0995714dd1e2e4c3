import type { ChatMessage } from "@lfm/data";
import { chatPromptIds } from "@lfm/models";
import { fitPassages, type NumberedPassage } from "@lfm/retrieval";
import { askedOf } from "../asking/prompt-form.js";
import type { FoundPassage } from "../inputs/open-search.js";
import type { PassageSource } from "./passage-source.js";
import type { ServedLanguageModel } from "./served.js";
import { type Exchange, inTime, type Serving } from "./serving.js";

/** A passage that an answer was given from, as the answer says it: a field beside those of OpenAI's. */
export interface ServedCitation {
  readonly number: number;
  readonly id: string;
  readonly title: string | null;
  readonly text: string;
  readonly score: number;
}

interface Asked {
  readonly model: ServedLanguageModel;
  readonly messages: readonly ChatMessage[];
  /** Ids of the messages as they are. */
  readonly alone: readonly number[];
  /** Tokens to keep room for. */
  readonly newTokens: number;
}

/**
 * A conversation whose last question stands below what was found for it, as far as there is room; one without a question stays as it is.
 * @throws {ApiError} 429, 504
 */
export async function withPassages(
  serving: Serving,
  exchange: Exchange,
  { budget, lookUp }: PassageSource,
  { model, messages, alone, newTokens }: Asked,
): Promise<{ readonly ids: readonly number[]; readonly citations: readonly ServedCitation[] }> {
  const at = messages.findLastIndex(({ role }) => role === "user");
  const question = messages[at];
  if (!question || question.content.trim() === "") return { ids: alone, citations: [] };
  const found = await inTime(serving, exchange, (signal) => lookUp(question.content, serving.limits.queue, signal));
  const write = (passages: readonly NumberedPassage[]): readonly number[] =>
    chatPromptIds(model.text, messages.with(at, { ...question, content: askedOf(question.content, passages) }));
  const numbered = (passages: readonly FoundPassage["passage"][]): NumberedPassage[] =>
    passages.map((passage, i) => ({ number: i + 1, passage }));
  const room = Math.min(budget, model.generator.room(alone.length) - newTokens);
  const { passages } = fitPassages(
    found.map((f) => f.passage),
    (some) => write(numbered(some)).length - alone.length,
    room,
  );
  const shown = numbered(passages);
  return {
    ids: shown.length === 0 ? alone : write(shown),
    citations: shown.map(({ number, passage: { id, title, text } }) => {
      const { score } = found.find((f) => f.passage.id === id)!;
      return { number, id, title: title ?? null, text, score };
    }),
  };
}
