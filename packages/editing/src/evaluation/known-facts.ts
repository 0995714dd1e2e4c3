import type { TextRules } from "@lfm/models";
import type { AnswerScore, AnswerScorer, Continued } from "./answer-scorer.js";
import { answerTokens } from "./answer-tokens.js";

/** A fact as a file of edits has it, before the edit. */
export interface AskedFact {
  /** Ends where the object begins. */
  readonly prompt: string;
  readonly object: string;
  /** Facts of one relation share their objects. Where a file names none, it is the prompt without its subject. */
  readonly relation: string;
}

/** Whether a model knows a fact. */
export interface KnownFact {
  /** Greedy decoding names the object first. */
  readonly first: boolean;
  /**
   * Its place, from 1, among all objects that facts of the relation have, by log p; null where these are fewer than {@link LEAST_OBJECTS}, and
   * beyond the first {@link TOP}.
   */
  readonly place: number | null;
  /** Named first, or among the first {@link TOP} of its relation's objects. */
  readonly known: boolean;
}

/** Objects of a relation that make a place among them mean something. */
export const LEAST_OBJECTS = 50;
export const TOP = 10;

/**
 * Asks which facts a model knows: an edit of a fact that it does not is another thing, and its neighbours say nothing.
 * @param facts of which the known ones are wanted
 * @param collection facts that say which objects a relation has; default the same
 * @throws {LfmError} SHAPE_MISMATCH for a prompt or an object without tokens, ABORTED
 */
export async function knownFacts(
  scorer: AnswerScorer,
  rules: TextRules,
  facts: readonly AskedFact[],
  collection: readonly AskedFact[] = facts,
  signal?: AbortSignal,
): Promise<readonly KnownFact[]> {
  const objects = new Map<string, Set<string>>();
  for (const { relation, object } of [...collection, ...facts]) objects.set(relation, (objects.get(relation) ?? new Set()).add(object));
  const known: KnownFact[] = [];
  // Fact by fact: the objects of one already fill batches.
  for (const { prompt, object, relation } of facts) {
    const all = objects.get(relation)!;
    const others = all.size < LEAST_OBJECTS ? [] : [...all].filter((other) => other !== object);
    const [asked, ...rest] = [object, ...others].map((text) => answerTokens(rules, prompt, text)) as [Continued, ...Continued[]];
    // Objects of one token are all told by what follows the prompt: a single row, and mostly enough to say that the fact is not known.
    const short = rest.filter(({ answer }) => answer.length === 1);
    const [own, ...found] = (await scorer.score([asked, ...short], signal)) as [AnswerScore, ...AnswerScore[]];
    const before = (scores: readonly AnswerScore[]): number => scores.filter((score) => total(score) > total(own)).length;
    let ahead = before(found);
    if (ahead < TOP && short.length < rest.length)
      ahead += before(
        await scorer.score(
          rest.filter(({ answer }) => answer.length > 1),
          signal,
        ),
      );
    const first = asked.answer.every((token, i) => own.said[i] === token);
    const place = others.length === 0 || ahead >= TOP ? null : 1 + ahead;
    known.push({ first, place, known: first || place !== null });
  }
  return known;
}

function total({ logProbs }: AnswerScore): number {
  return logProbs.reduce((a, b) => a + b, 0);
}
