/**
 * Attacks on texts as data: a goal, constraints, a transformation and a search (as Morris et al., TextAttack, arXiv 2005.05909, take them apart). A
 * recipe names one of each; what a victim is asked is counted to the row.
 */

import type { BlackBox } from "@lfm/core";
import { type MethodContext, type Rng, throwIfAborted } from "@lfm/core";
import type { BlackBoxInput } from "@lfm/models";
import { brokenInputs } from "../adversarial/robustness.js";
import type { Findings } from "../define-probe.js";
import type { LabelledTexts } from "../inputs.js";

/** A text as its words and what stands between them. */
type Words = readonly string[];

/** What may take the place of a word, the likeliest first. */
export type Transformation = (words: Words, place: number, rng: Rng) => readonly string[];

/** Whether a changed text may still pass for the original. */
export type Constraint = (original: Words, changed: Words) => boolean;

/** What the attack wants: how near it is, and when it has it. probabilities — of the classes; label — the right one */
export interface Goal {
  score(probabilities: ArrayLike<number>, label: number): number;
  reached(probabilities: ArrayLike<number>, label: number): boolean;
}

/** In which order words are exchanged, and how each exchange is chosen. */
export interface Search {
  /** Words by how much the answer suffers without them, or as they come at random. */
  readonly order: "deletion" | "random";
}

export interface Recipe {
  readonly goal: Goal;
  readonly constraints: readonly Constraint[];
  readonly transformation: Transformation;
  readonly search: Search;
}

/** Any class but the right one. */
export const misclassified: Goal = {
  score: (p, label) => 1 - p[label]!,
  reached: (p, label) => Array.from(p).some((v, k) => k !== label && v > p[label]!),
};

/** At most a share of the words is changed; one always may be. */
export function changedAtMost(share: number): Constraint {
  return (original, changed) => changed.filter((w, i) => w !== original[i]).length <= Math.max(1, Math.floor(share * original.length));
}

export interface TextAttackOptions {
  /** Rows that may be asked about for one text. */
  readonly queriesPerText: number;
  /** Changed texts that are listed. */
  readonly cases: number;
}

/**
 * Attacks texts one by one: words in the order of the search, each exchanged for the candidate that reaches the goal or comes nearest to it.
 * @param encode a text as the victim reads it
 */
export async function attackTexts(
  box: BlackBox<BlackBoxInput>,
  { texts, labels }: LabelledTexts,
  encode: (text: string) => readonly number[],
  recipe: Recipe,
  options: TextAttackOptions,
  context: MethodContext,
): Promise<Findings> {
  const [right, still]: [number[], number[]] = [[], []];
  const cases: Record<string, string | number>[] = [];
  let [share, broken] = [0, 0];
  for (const [i, text] of texts.entries()) {
    throwIfAborted(context.signal, "[@lfm/probe] attack on texts");
    const { words, between } = taken(text);
    const ask = asker(box, options.queriesPerText, (some) => some.map((w) => encode(together(w, between))));
    const found = await attackOne(words, labels[i]!, recipe, ask, context.rng.split(`text ${i}`));
    right.push(found.wasRight ? 1 : 0);
    still.push(found.wasRight && !found.changed ? 1 : 0);
    if (found.changed) {
      broken++;
      const exchanged = found.changed.filter((w, k) => w !== words[k]).length;
      share += exchanged / words.length;
      if (cases.length < options.cases) cases.push({ text, becomes: together(found.changed, between), words: exchanged });
    }
    context.progress({ phase: "attack", done: i + 1, total: texts.length, unit: "text" });
  }
  return brokenInputs(right, still, box.queries, {
    measured: { ...(broken > 0 ? { wordsChanged: share / broken } : {}), queriesPerText: box.queries / Math.max(1, texts.length) },
    cases,
  });
}

type Ask = (texts: readonly Words[]) => Promise<readonly Float32Array[]>;

async function attackOne(
  words: Words,
  label: number,
  { goal, constraints, transformation, search }: Recipe,
  ask: Ask,
  rng: Rng,
): Promise<{ readonly wasRight: boolean; readonly changed?: Words }> {
  const [clean] = await ask([words]);
  if (!clean || goal.reached(clean, label)) return { wasRight: false };
  let places = rng.shuffle([...words.keys()]);
  if (search.order === "deletion" && words.length > 1) {
    const without = await ask(words.map((_, i) => words.filter((_w, k) => k !== i)));
    places = [...without.keys()].sort((a, b) => goal.score(without[b]!, label) - goal.score(without[a]!, label) || a - b);
  }
  let [current, best] = [words, goal.score(clean, label)];
  for (const place of places) {
    const tried = transformation(current, place, rng)
      .map((word) => current.map((w, i) => (i === place ? word : w)))
      .filter((changed) => constraints.every((allows) => allows(words, changed)));
    const answers = await ask(tried);
    if (tried.length > 0 && answers.length === 0) break;
    const hit = answers.findIndex((p) => goal.reached(p, label));
    if (hit >= 0) return { wasRight: true, changed: tried[hit]! };
    for (const [k, p] of answers.entries()) {
      const score = goal.score(p, label);
      if (score > best) [current, best] = [tried[k]!, score];
    }
  }
  return { wasRight: true };
}

/** Asks as long as there are queries left: what is beyond them is not answered. */
function asker(box: BlackBox<BlackBoxInput>, limit: number, encoded: (texts: readonly Words[]) => readonly (readonly number[])[]): Ask {
  let used = 0;
  return async (texts) => {
    const some = texts.slice(0, Math.min(limit - used, box.budget - box.queries));
    if (some.length === 0) return [];
    used += some.length;
    const { data, shape } = await box.predict(encoded(some));
    const classes = shape[1]!;
    return some.map((_, i) => (data as Float32Array).slice(i * classes, (i + 1) * classes));
  };
}

function taken(text: string): { readonly words: Words; readonly between: readonly string[] } {
  const parts = text.split(/(\s+)/);
  return { words: parts.filter((_, i) => i % 2 === 0), between: parts.filter((_, i) => i % 2 === 1) };
}

/** Words with what stood between them; where one was left out a space stands. */
function together(words: Words, between: readonly string[]): string {
  return words.map((w, i) => (i === 0 ? w : `${words.length === between.length + 1 ? between[i - 1] : " "}${w}`)).join("");
}
