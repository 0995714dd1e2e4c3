import { LfmError } from "@lfm/core";
import { idsOfText, promptIds, type TextRules } from "@lfm/models";
import { type NumberedPassage, numberedText, passageText } from "@lfm/retrieval";
import type { PromptForm } from "./ask-flags.js";

/** Writes prompts of one model. */
export interface PromptWriter {
  readonly form: PromptForm;
  /** Texts that end an answer in this form. */
  readonly stop: readonly string[];
  /** @param written of the answer so far: the prompt ends with it */
  write(question: string, passages: readonly NumberedPassage[], written: string): string;
  /** Ids of a prompt that was written. */
  ids(prompt: string): readonly number[];
}

/** What a user asks who has passages at hand. */
export function askedOf(question: string, passages: readonly NumberedPassage[]): string {
  if (passages.length === 0) return question;
  const heading = "Answer the question from these passages. Name the number of each passage that you use, such as [1].";
  return `${heading}\n\n${passages.map(numberedText).join("\n\n")}\n\nQuestion: ${question}`;
}

function labelled(question: string, passages: readonly NumberedPassage[]): string {
  const above = passages.length === 0 ? "" : `Passages:\n${passages.map(numberedText).join("\n")}\n\n`;
  return `${above}Question: ${question}\nAnswer:`;
}

function plain(question: string, passages: readonly NumberedPassage[]): string {
  return [...passages.map(({ passage }) => passageText(passage)), question].join(" ");
}

/**
 * @param wanted default: chat where the folder has a template; headings where the tokenizer can write them; else plain, for a small vocabulary
 * @throws {LfmError} CAPABILITY_MISSING for chat without a template
 */
export function promptWriter(text: TextRules, wanted?: PromptForm): PromptWriter {
  const form = wanted ?? (text.chat ? "chat" : writes(text, labelled("", [])) ? "labelled" : "plain");
  if (form !== "chat") {
    const write = form === "labelled" ? labelled : plain;
    return {
      form,
      stop: ["\n"],
      write: (question, passages, written) => [write(question, passages), written.trim()].filter(Boolean).join(" "),
      ids: (prompt) => promptIds(text, prompt),
    };
  }
  const { chat } = text;
  if (!chat)
    throw new LfmError("CAPABILITY_MISSING", "lfm: the model's folder has no chat template", { hint: "--form labelled, or --form plain" });
  return {
    form,
    stop: [],
    write: (question, passages, written) => `${chat.render([{ role: "user", content: askedOf(question, passages) }], true)}${written}`,
    ids: (prompt) => idsOfText(text, prompt),
  };
}

/** Whether a text is read back as it was written, spaces aside. */
function writes({ tokenizer }: TextRules, text: string): boolean {
  const read = tokenizer.decode(tokenizer.encode(text, { addSpecialTokens: false }).ids, { skipSpecialTokens: true });
  return read.replace(/\s+/g, "") === text.replace(/\s+/g, "");
}
