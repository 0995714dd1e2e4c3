import type { Rng } from "@lfm/core";
import { COMPACT, type Fact, type Passage, type Prompt, promptFor, type Query, type Run, statement, type World } from "@lfm/data";

/** Questions about a sample of facts, each in a random form that is not the documents' own. */
export function askAbout(world: World, facts: readonly Fact[], count: number, rng: Rng): Prompt[] {
  return rng.sample(facts, count).map((fact) => {
    const forms = world.relation(fact.relation).templates.length - 1;
    return promptFor(world, fact, COMPACT + 1 + rng.int(forms));
  });
}

/** A fact as documents state it: `home NAME VALUE .` */
export function passageOf(world: World, fact: Fact): Passage {
  return { id: `${fact.relation}/${fact.subject}`, text: statement(world, fact, COMPACT) };
}

/** What is said of somebody and answers nothing that is asked. @param number tells one opinion about somebody from the next */
export function opinionOf(world: World, who: string, number: number, rng: Rng): Passage {
  const [a, b] = rng.sample(rng.pick([world.moods.good, world.moods.bad]), 2);
  return { id: `opinion/${who}/${number}`, text: `${who} seems ${a} and ${b} .` };
}

export function queryOf(prompt: Prompt): Query {
  return { id: `${prompt.fact.relation}/${prompt.fact.subject}`, text: prompt.prompt };
}

/** The first passages that a run has for each query. */
export function fromRun(run: Run, passages: readonly Passage[]) {
  const byId = new Map(passages.map((p) => [p.id, p]));
  return async (queries: readonly Query[], k: number): Promise<readonly (readonly Passage[])[]> =>
    queries.map((query) => (run.get(query.id) ?? []).slice(0, k).map((hit) => byId.get(hit.id)!));
}

/** Share of prompts that were answered with exactly the right word. */
export function shareRight(answers: readonly string[], prompts: readonly Prompt[]): number {
  return answers.filter((answer, i) => answer === prompts[i]!.answer).length / prompts.length;
}
