import type { Passage } from "@lfm/data";
import { type Citation, citationsOf, fitPassages, type NumberedPassage } from "@lfm/retrieval";
import type { FoundPassage } from "../inputs/open-search.js";
import type { PromptWriter } from "./prompt-form.js";

export interface CitedPassage extends Citation {
  /** As it stood in the prompt: cut, where the budget cut it. */
  readonly text: string;
  readonly score: number;
}

export interface PromptRoom {
  /** Tokens that a prompt may have. */
  readonly prompt: number;
  /** Tokens of it that passages may take. */
  readonly passages: number;
}

/** The prompts of one question. A passage has one number in all of them. */
export class CitedPrompts {
  private readonly writer: PromptWriter;
  private readonly question: string;
  private readonly room: PromptRoom;
  private readonly shown = new Map<string, NumberedPassage & { readonly score: number }>();
  /** Passages that were found and that there was no room for. */
  leftOut = 0;

  constructor(writer: PromptWriter, question: string, room: PromptRoom) {
    this.writer = writer;
    this.question = question;
    this.room = room;
  }

  /** A prompt with as many of the passages as there is room for, the best first. @param written of the answer so far */
  write(found: readonly FoundPassage[], written: string): string {
    const { writer, question, room } = this;
    const write = (passages: readonly Passage[]): string => writer.write(question, this.numbered(passages), written);
    const length = (passages: readonly Passage[]): number => writer.ids(write(passages)).length;
    const alone = length([]);
    const { passages } = fitPassages(
      found.map((f) => f.passage),
      (some) => length(some) - alone,
      Math.min(room.passages, room.prompt - alone),
    );
    this.leftOut += found.length - passages.length;
    const prompt = write(passages);
    for (const numbered of this.numbered(passages)) {
      const { id } = numbered.passage;
      if (!this.shown.has(id)) this.shown.set(id, { ...numbered, score: found.find((f) => f.passage.id === id)!.score });
    }
    return prompt;
  }

  /** The passages that stood in prompts, in the order of their numbers, with what an answer owes them. */
  citations(answer: string): readonly CitedPassage[] {
    const shown = [...this.shown.values()];
    return citationsOf(answer, shown).map((citation, i) => ({ ...citation, text: shown[i]!.passage.text, score: shown[i]!.score }));
  }

  private numbered(passages: readonly Passage[]): NumberedPassage[] {
    let last = this.shown.size;
    return passages.map((passage) => ({ number: this.shown.get(passage.id)?.number ?? ++last, passage }));
  }
}
