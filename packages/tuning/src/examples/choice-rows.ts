import { inputKind, LfmError } from "@lfm/core";
import type { Examples } from "@lfm/data";
import { idsOfBoth, requireRead, type TextRules } from "@lfm/models";
import { labelledRows, labelNames } from "./answered-rows.js";
import { joint, single } from "./token-rows.js";

/** One of the answers that a question may have. */
export interface Answer {
  readonly text: string;
  /** Its place among what the model scores: the token that it begins with, of a classifier the number of its class. */
  readonly place: number;
}

/** Questions with one of a few answers. */
export interface ChoiceRows {
  /** Tokens that a model has read when it is asked. */
  readonly prompts: readonly (readonly number[])[];
  /** Tokens of the right answer, with what closes it; of a classifier none. */
  readonly completions: readonly (readonly number[])[];
  /** Number of the right answer of each. */
  readonly labels: Int32Array;
  /** In the order of {@link answersOf}. */
  readonly answers: readonly Answer[];
}

/** Examples that are shown, as they stand in their file. */
export const demonstrationsInput = inputKind<Examples>("demonstrations");

/** Examples as questions with one of a few answers. */
export const choicesInput = inputKind<ChoiceRows>("choices");

/**
 * What a language model is asked: prompts and the first token of each answer.
 * @throws {LfmError} CONFIG_INVALID for examples without answers, for answers that begin with one token, and for one that begins differently behind
 *   different prompts
 */
export function choiceRows(examples: Examples, rules: TextRules): ChoiceRows {
  const rows =
    examples.kind === "completion"
      ? examples.rows.map((r) => [r.prompt, r.completion] as const)
      : examples.kind === "classification"
        ? examples.rows.map((r) => [single(r), r.label] as const)
        : undefined;
  if (!rows)
    throw new LfmError("CONFIG_INVALID", `[@lfm/tuning] one of a few answers is wanted, and these examples are ${examples.kind}`, {
      hint: "give text + label, or prompt + completion",
    });
  const answers = new Map<string, { readonly number: number; readonly place: number }>();
  const read = rows.map(([prompt, answer]) => {
    const { head, tail } = idsOfBoth(rules, prompt, joint(prompt, answer));
    requireRead(rules, [...head, ...tail]);
    const text = answer.trim();
    const [place] = tail;
    if (place === undefined) throw new LfmError("CONFIG_INVALID", `[@lfm/tuning] the answer ${JSON.stringify(answer)} has no token`);
    const known = answers.get(text) ?? { number: answers.size, place };
    if (known.place !== place)
      throw new LfmError("CONFIG_INVALID", `[@lfm/tuning] the answer "${text}" begins with different tokens behind different prompts`, {
        hint: "end all prompts alike, e.g. with a colon",
      });
    answers.set(text, known);
    return { prompt: [...rules.start, ...head], completion: [...tail, ...rules.close], number: known.number };
  });
  const list = [...answers].map(([text, { place }]) => ({ text, place }));
  const twice = list.find(({ place }, i) => list.findIndex((a) => a.place === place) !== i);
  if (twice || list.length < 2)
    throw new LfmError(
      "CONFIG_INVALID",
      twice
        ? `[@lfm/tuning] the answer "${twice.text}" begins with the same token as another one: they cannot be told apart by it`
        : "[@lfm/tuning] all examples have one answer: there is nothing to choose",
      { hint: "give answers of one word each, two at least" },
    );
  return {
    prompts: read.map((r) => r.prompt),
    completions: read.map((r) => r.completion),
    labels: Int32Array.from(read, (r) => r.number),
    answers: list,
  };
}

/** What a classifier with a head is asked: texts and classes. @throws {LfmError} CONFIG_INVALID for examples without labels or pairs of texts */
export function classChoices(examples: Examples, rules: TextRules, names: readonly string[] = labelNames(examples)): ChoiceRows {
  const { texts, pairs, labels } = labelledRows(examples, names);
  if (pairs)
    throw new LfmError("CONFIG_INVALID", "[@lfm/tuning] pairs of texts are not asked this way", { hint: "write them as one text" });
  return {
    prompts: texts.map((text) => rules.tokenizer.encode(text).ids),
    completions: texts.map(() => []),
    labels,
    answers: names.map((text, place) => ({ text, place })),
  };
}
