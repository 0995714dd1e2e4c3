import { LfmError } from "@lfm/core";
import type { ChatMessage } from "@lfm/data";
import type { ChatTemplate } from "./chat-template.js";
import { idsOfText, type TextRules } from "./text-rules.js";

/** A conversation as a model learns from it. */
export interface ChatIds {
  readonly ids: readonly number[];
  /** As long as `ids`: 1 for what the assistant said, with the token that ends its turn; 0 elsewhere. */
  readonly answers: readonly (0 | 1)[];
}

/**
 * Ids of a conversation with an answer begun at its end, as transformers' `apply_chat_template(…, add_generation_prompt=True)` gives them.
 * @throws {LfmError} CAPABILITY_MISSING for a folder without a chat template, CONFIG_INVALID for a conversation that it refuses
 */
export function chatPromptIds(text: TextRules, messages: readonly ChatMessage[]): readonly number[] {
  return idsOfText(text, requireChat(text).render(messages, true));
}

/**
 * Ids of a whole conversation, as `apply_chat_template` gives them, and which of them are the assistant's: what stands behind the text that a
 * generation prompt ends with, up to the token that ends the turn.
 * @param from number of the first message that counts as an answer: those before it are a prompt
 * @throws {LfmError} as {@link chatPromptIds}; CONFIG_INVALID where the template writes what was said otherwise once more follows
 */
export function chatIds(text: TextRules, messages: readonly ChatMessage[], from = 0): ChatIds {
  const chat = requireChat(text);
  const whole = chat.render(messages, false);
  const ids = idsOfText(text, whole);
  const answers = ids.map((): 0 | 1 => 0);
  for (const [i, { role }] of messages.entries()) {
    if (role !== "assistant" || i < from) continue;
    const before = chat.render(messages.slice(0, i), true);
    if (!whole.startsWith(before))
      throw new LfmError(
        "CONFIG_INVALID",
        `[@lfm/models] the chat template does not write what stands before message ${i + 1} as it would if an answer came next`,
        {
          hint: "give prompt + completion",
        },
      );
    const start = commonLength(ids, idsOfText(text, before));
    answers.fill(1, start, turnEnd(text, ids, start, throughOf(text, ids, whole, chat.render(messages.slice(0, i + 1), false))));
  }
  return { ids, answers };
}

/** @returns where the ids of a conversation up to an answer end in those of the whole; undefined where the template writes that otherwise */
function throughOf(text: TextRules, ids: readonly number[], whole: string, through: string): number | undefined {
  return whole.startsWith(through) ? commonLength(ids, idsOfText(text, through)) : undefined;
}

/**
 * Behind the token that ends the turn which begins at `from`. A line break that the template puts behind it, is none of the assistant's.
 * @param through end of the turn with what the template puts behind it, where it is known
 */
function turnEnd({ ends, tokenizer }: TextRules, ids: readonly number[], from: number, through: number | undefined): number {
  const closing = new Set([...ends, tokenizer.specials.eos]);
  const places = ids.flatMap((id, i) => (i >= from && i < (through ?? ids.length) && closing.has(id) ? [i] : []));
  const last = through === undefined ? places[0] : places.at(-1);
  return last === undefined ? (through ?? ids.length) : last + 1;
}

function commonLength(a: readonly number[], b: readonly number[]): number {
  const differs = b.findIndex((id, i) => a[i] !== id);
  return differs < 0 ? b.length : differs;
}

function requireChat({ chat }: TextRules): ChatTemplate {
  if (chat) return chat;
  throw new LfmError("CAPABILITY_MISSING", "[@lfm/models] the model's folder has no chat template", {
    hint: "put its chat_template.jinja into the folder, or leave --chat out and give the whole text",
  });
}
