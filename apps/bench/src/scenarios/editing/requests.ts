import { type Engine, padRows, Rng } from "@lfm/core";
import { type CounterfactRecord, counterfacts, type Fact, promptFor, statement, trainedTemplates, type World } from "@lfm/data";
import type { EditRequest } from "@lfm/editing";
import { answerWords, type Zoo } from "@lfm/models/zoo";
import { type Corpus, tokenCorpus } from "@lfm/statistics";

const CORPUS_SENTENCES = 512;
const PREFIXES = 4;
/** Settings are chosen on edits of the first people of the world; edits that are reported are about the others. */
const DEVELOPMENT_PEOPLE = 128;

/** Edits of facts that the model knows. @throws {LfmError} CONFIG_INVALID when it knows fewer than `count` of those asked about */
export async function editRecords(
  zoo: Zoo,
  engine: Engine,
  options: { readonly seed: number; readonly count: number; readonly people: "test" | "development" },
): Promise<readonly CounterfactRecord[]> {
  const { world } = zoo;
  const { seed, count } = options;
  const place = new Map(world.entities.map((e, i) => [e, i]));
  const facts = world.facts.filter((f) => place.get(f.subject)! < DEVELOPMENT_PEOPLE === (options.people === "development"));
  const rng = new Rng(seed).split("edits");
  const asked = rng.sample(facts, 6 * count);
  const prompts = asked.map((fact) => promptFor(world, fact, rng.pick(trainedTemplates(world, fact.subject, fact.relation))));
  const words = await answerWords(
    engine,
    zoo.lm,
    world,
    prompts.map((p) => p.prompt),
  );
  const name = (f: Fact): string => `${f.relation} ${f.subject}`;
  const known = new Set(prompts.filter((p, i) => p.answer === words[i]).map((p) => name(p.fact)));
  return counterfacts(world, { seed, count, accept: (f) => known.has(name(f)) });
}

export function editRequest(world: World, { requested_rewrite: rewrite }: CounterfactRecord): EditRequest {
  const { bos, encode, id } = world.vocabulary;
  const subject = id(rewrite.subject);
  const prompt = [bos, ...encode(rewrite.prompt.replace("{}", () => rewrite.subject))];
  return { prompt, subjectEnd: prompt.lastIndexOf(subject), target: [id(rewrite.target_new.str)], start: 1, essence: [bos, subject] };
}

/** True sentences of the world, one form each: what keys usually look like. */
export function keyCorpus(world: World, seed: number): Corpus {
  const rng = new Rng(seed).split("key corpus");
  const rows = rng
    .sample(world.facts, CORPUS_SENTENCES)
    .map((fact) => [
      world.vocabulary.bos,
      ...world.vocabulary.encode(statement(world, fact, rng.pick(trainedTemplates(world, fact.subject, fact.relation)))),
    ]);
  return tokenCorpus("true sentences", padRows(rows));
}

/** Sentences about other people to put before the prompt, so that an edit does not hang on the beginning of the text. */
export function editPrefixes(world: World, seed: number): readonly (readonly number[])[] {
  const rng = new Rng(seed).split("prefixes");
  return rng
    .sample(world.facts, PREFIXES)
    .map((fact) => world.vocabulary.encode(statement(world, fact, rng.pick(trainedTemplates(world, fact.subject, fact.relation)))));
}
