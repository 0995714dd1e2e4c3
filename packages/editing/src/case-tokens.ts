import { Rng } from "@lfm/core";
import { counterfacts, type EditRecord, editOf, type World } from "@lfm/data";
import { idsOfText, type TextRules } from "@lfm/models";
import type { EditCase } from "./cases.js";
import { answerTokens } from "./evaluation/answer-tokens.js";

/** What is read of a record. */
export type CasedRecord = Pick<EditRecord, "subject" | "subjectStart" | "prompt" | "target" | "relation" | "questions">;

/**
 * A record as a model reads it: its other wordings, and its prompts about what shall stay. What of these the model cannot read is left out.
 * @returns undefined for a prompt without its subject, and for a fact that the model has no tokens for
 */
export function caseOfRecord(rules: TextRules, record: CasedRecord): EditCase | undefined {
  const { subject, subjectStart, prompt, target, questions } = record;
  const asked = answered(rules, prompt, target);
  if (subjectStart === undefined || !asked) return undefined;
  const encode = (text: string): readonly number[] => [...rules.start, ...idsOfText(rules, text)];
  const [start, end] = subjectSpan(rules, prompt, subjectStart, subject);
  return {
    subject,
    relation: record.relation ?? prompt,
    subjectStart: start,
    request: { ...asked, subjectEnd: end - 1, start: rules.start.length },
    paraphrases: questions.flatMap((q) => (q.axis === "paraphrase" ? (answered(rules, q.prompt, target) ?? []) : [])),
    unrelated: questions
      .filter((q) => q.axis === "locality")
      .map((q) => encode(q.prompt))
      .filter((row) => row.length > 0 && readable(rules, row)),
  };
}

/** The subject's first token in a prompt, and the place behind its last. @param at where it begins in the text */
export function subjectSpan(rules: TextRules, prompt: string, at: number, subject: string): readonly [start: number, end: number] {
  const length = (text: string): number => rules.start.length + idsOfText(rules, text).length;
  // A space in front of a word is part of its first token.
  const [start, end] = [length(prompt.slice(0, at).trimEnd()), length(prompt.slice(0, at + subject.length))];
  return [Math.min(start, end - 1), end];
}

function answered(rules: TextRules, prompt: string, target: string): Pick<EditCase["request"], "prompt" | "target"> | undefined {
  const { prompt: ids, answer } = answerTokens(rules, prompt, target);
  return answer.length > 0 && readable(rules, [...ids, ...answer]) ? { prompt: ids, target: answer } : undefined;
}

function readable({ tokenizer, maxLength }: TextRules, ids: readonly number[]): boolean {
  const { unk } = tokenizer.specials;
  return ids.length <= (maxLength ?? ids.length) && (unk === undefined || !ids.includes(unk));
}

/** People of the generated world whose facts editors learn from and layers are chosen by: edits that are reported are about the others. */
const DEVELOPMENT_PEOPLE = 128;
/** New values that each of their facts is given. */
const VALUES = 4;

/** Facts about people of the generated world, each with several new values; people who are reported on are not among them. */
export function worldCases(world: World, rules: TextRules, seed: number): readonly EditCase[] {
  const people = new Set(world.entities.slice(0, DEVELOPMENT_PEOPLE));
  const count = world.facts.filter((f) => people.has(f.subject)).length;
  const rng = new Rng(seed).split("edit cases");
  return Array.from({ length: VALUES }, () =>
    counterfacts(world, { seed: rng.uint32(), count, accept: (f) => people.has(f.subject) }).flatMap(
      (fields) => caseOfRecord(rules, editOf({ at: `fact ${fields.case_id}`, fields: { ...fields } })) ?? [],
    ),
  ).flat();
}
