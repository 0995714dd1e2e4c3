import type { Passage } from "@lfm/data";
import { type Analyzer, englishAnalyzer } from "../text/analyzer.js";
import { passageText } from "../text-encoder.js";

/** A passage with the number that it stands under in a prompt, from 1. */
export interface NumberedPassage {
  readonly number: number;
  readonly passage: Passage;
}

/** A passage that an answer may rest on. */
export interface Citation {
  readonly number: number;
  readonly id: string;
  readonly title?: string;
  /** Whether the answer names its number: `[2]`, `[1, 2]`. */
  readonly named: boolean;
  /** Share of the answer's distinct terms that stand in the passage, 0..1; null for an answer without terms. */
  readonly support: number | null;
}

/** A passage as a prompt has it: `[2] title text`. */
export function numberedText({ number, passage }: NumberedPassage): string {
  return `[${number}] ${passageText(passage)}`;
}

const MARK = /\[(\d+(?:\s*,\s*\d+)*)\]/g;

/**
 * What an answer rests on, as far as its words say: no model judges. Terms of the question count as well, for an answer may repeat them.
 * @param analyzer how words are compared; default English, without stop words, by stems
 */
export function citationsOf(answer: string, passages: readonly NumberedPassage[], analyzer: Analyzer = englishAnalyzer()): Citation[] {
  const named = new Set([...answer.matchAll(MARK)].flatMap(([, numbers]) => numbers!.split(",").map(Number)));
  const terms = new Set(analyzer.analyze(answer.replace(MARK, " ")));
  return passages.map(({ number, passage }) => {
    const there = new Set(analyzer.analyze(passageText(passage)));
    const shared = [...terms].filter((term) => there.has(term)).length;
    return {
      number,
      id: passage.id,
      ...(passage.title === undefined ? {} : { title: passage.title }),
      named: named.has(number),
      support: terms.size === 0 ? null : shared / terms.size,
    };
  });
}
