import type { EditDemonstration, EditRequest } from "./inputs.js";

/** What a row of {@link factsToRow} says of a fact before its tokens. */
const HEAD = 5;

/** Facts as one row of numbers, which an entry of a memory carries along: of each, lengths and places, then its tokens. */
export function factsToRow(facts: readonly EditRequest[]): readonly number[] {
  return facts.flatMap(({ prompt, target, essence = [], subjectEnd, start = 0 }) => {
    const head = [prompt.length, target.length, essence.length, subjectEnd, start];
    return [...head, ...prompt, ...target, ...essence];
  });
}

/** What {@link factsToRow} was given. */
export function rowToFacts(row: readonly number[]): readonly EditRequest[] {
  const facts: EditRequest[] = [];
  let at = 0;
  const take = (count: number): readonly number[] => {
    at += count;
    return row.slice(at - count, at);
  };
  while (at < row.length) {
    const [prompt, target, essence, subjectEnd, start] = take(HEAD) as readonly [number, number, number, number, number];
    const fact = { prompt: take(prompt), target: take(target), subjectEnd, start };
    facts.push(essence > 0 ? { ...fact, essence: take(essence) } : fact);
  }
  return facts;
}

/** What facts ask of their subjects: the words behind them, each once, in their order. */
export function questionsOf(facts: readonly EditRequest[], demonstrations: readonly EditDemonstration[]): readonly (readonly number[])[] {
  const questions = new Map<string, readonly number[]>();
  for (const { prompt, subjectEnd } of [...demonstrations.map((d) => d.request), ...facts]) {
    const question = prompt.slice(subjectEnd + 1);
    if (question.length > 0) questions.set(question.join(" "), question);
  }
  return [...questions.values()];
}
