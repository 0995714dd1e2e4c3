import { type Engine, Rng } from "@lfm/core";
import {
  COMPACT,
  consequencePrompt,
  type Fact,
  heldOutTemplate,
  promptFor,
  promptText,
  statement,
  taughtConsequence,
  trainedTemplates,
  type World,
} from "@lfm/data";
import type { EditProbe, EditRequest } from "@lfm/editing";
import { answerWords, type Zoo } from "@lfm/models/zoo";
import type { AskedEdit } from "./evaluate-edits.js";

/** An edit of a fact of the world, and what can be asked about it with exact answers. */
export interface ZooEdit extends AskedEdit {
  readonly fact: Fact;
  /** The new value. */
  readonly target: string;
  /** The question that the edit is made with, without `<bos>`. */
  readonly prompt: string;
}

/** Settings are chosen on edits of the first people of the world; edits that are reported are about the others. */
const DEVELOPMENT_PEOPLE = 128;
/** So many of these are left alone where many edits of the others' facts are made in turn: what is kept is seen on them. */
const CONTROL_PEOPLE = 32;
/** One edit in so many is of a value's fact (the realm of a city), which people stand for: their homes are its other names. */
const SECOND_HOPS = 5;
const [CONTEXTS, DISTRACTORS, ALIASES, NEIGHBOURS] = [2, 2, 3, 5];
/** Sentences before the prompt in a longer context. */
const CONTEXT_SENTENCES = 3;
/** Facts that are asked for each one that is wanted: some are not known. */
const ASKED = 2;

export interface ZooEditOptions {
  readonly seed: number;
  readonly count: number;
  /** "development" for choosing settings. */
  readonly people: "test" | "development";
  /** No edits of values' facts, from which what is asked of other edits would follow. Default false. */
  readonly personsOnly?: boolean;
  /** No edits of people whose facts tell what is kept. Default false. */
  readonly keepsControl?: boolean;
}

/** Edits of facts that the model knows in the form that they are edited in, each of another subject as far as there are subjects. */
export async function zooEdits({ world, lm }: Zoo, engine: Engine, options: ZooEditOptions): Promise<readonly ZooEdit[]> {
  const { seed, count, people, personsOnly = false, keepsControl = false } = options;
  const rng = new Rng(seed).split("zoo edits");
  const own = (facts: readonly Fact[]): Fact[] => facts.filter((fact) => isDevelopment(world, fact) === (people === "development"));
  const ofPeople = own(world.facts).filter((fact) => !(keepsControl && isControl(world, fact)));
  const persons = oneEach(rng.split("people").shuffle(ofPeople));
  const values = personsOnly ? [] : rng.split("values").shuffle(own(world.chainFacts));
  const facts: Fact[] = [];
  for (let i = 0; facts.length < Math.min(ASKED * count, persons.length); i++) {
    const value = i % SECOND_HOPS === SECOND_HOPS - 1 ? values.pop() : undefined;
    facts.push(value ?? persons[i]!);
  }
  const forms = facts.map((fact, i) => formsOf(world, fact, rng.split(`forms/${i}`)));
  const words = await answerWords(
    engine,
    lm,
    world,
    facts.map((fact, i) => promptText(world, fact.relation, forms[i]![0]!, fact.subject)),
  );
  const known = facts.flatMap((fact, i) => (words[i] === fact.value ? [{ fact, forms: forms[i]!, rng: rng.split(`edit/${i}`) }] : []));
  return known.slice(0, count).map((one) => zooEdit(world, one.fact, one.forms, one.rng));
}

/** Whether settings may be chosen, and editors trained, on the fact: it is of one of the first people, or of a first quarter of values. */
export function isDevelopment(world: World, { subject, relation }: Pick<Fact, "subject" | "relation">): boolean {
  const chain = world.chains.find((c) => c.relation.id === relation);
  if (!chain) return world.entities.indexOf(subject) < DEVELOPMENT_PEOPLE;
  const values = world.values[chain.via]!;
  return values.indexOf(subject) < values.length / 4;
}

/** Whether the fact is of one of the last people of development. */
export function isControl(world: World, { subject }: Pick<Fact, "subject">): boolean {
  const at = world.entities.indexOf(subject);
  return at >= DEVELOPMENT_PEOPLE - CONTROL_PEOPLE && at < DEVELOPMENT_PEOPLE;
}

/** Facts of people who have none yet before those of people who have one. */
function oneEach(facts: readonly Fact[]): readonly Fact[] {
  const seen = new Map<string, number>();
  const turn = facts.map(({ subject }) => {
    const n = seen.get(subject) ?? 0;
    seen.set(subject, n + 1);
    return n;
  });
  return facts
    .map((fact, i) => ({ fact, turn: turn[i]! }))
    .sort((a, b) => a.turn - b.turn)
    .map(({ fact }) => fact);
}

/** Forms that training used for the fact, the compact one left out: the first is the edit's, the others are its paraphrases. */
function formsOf(world: World, { subject, relation }: Fact, rng: Rng): readonly number[] {
  return rng.shuffle(trainedTemplates(world, subject, relation).filter((form) => form !== COMPACT));
}

function zooEdit(world: World, fact: Fact, [form, ...others]: readonly number[], rng: Rng): ZooEdit {
  const { subject, relation, value } = fact;
  const target = rng.pick(world.values[relation]!.filter((other) => other !== value));
  const prompt = promptText(world, relation, form!, subject);
  const paraphrases = others.slice(0, 2).map((other) => promptText(world, relation, other, subject));
  const asked = { prompt, answer: target, rival: value };
  const times = (n: number, make: () => EditProbe): EditProbe[] => Array.from({ length: n }, make);
  const hops = hopProbes(world, fact, target);
  return {
    fact,
    target,
    name: `${promptText(world, relation, COMPACT, subject)}: ${value} → ${target}`,
    prompt,
    request: requestOf(world, prompt, subject, target),
    probes: [
      { kind: "efficacy", ...asked },
      ...paraphrases.map((other): EditProbe => ({ kind: "paraphrase", ...asked, prompt: other })),
      { kind: "unseen-form", ...asked, prompt: promptText(world, relation, heldOutTemplate(world, subject, relation), subject) },
      // Behind passages the zoo's training asks in the compact form.
      { kind: "question", ...asked, prompt: promptText(world, relation, COMPACT, subject) },
      ...times(CONTEXTS, () => ({ kind: "long-context", ...asked, prompt: `${contextOf(world, rng, subject)} ${prompt}` })),
      ...times(DISTRACTORS, () => ({ kind: "distractor", ...asked, prompt: `${passageOf(world, rng, fact, target)} ${prompt}` })),
      ...hops,
      ...aliasProbes(world, rng, fact, target),
      ...localityProbes(world, rng, fact, target),
    ],
    openings: [...paraphrases, ...hops.slice(0, 1).map((hop) => hop.prompt), `${subject} seems`],
    references: referencesOf(world, rng, relation, target, subject),
  };
}

function requestOf(world: World, text: string, subject: string, target: string): EditRequest {
  const { bos, encode, id } = world.vocabulary;
  const prompt = [bos, ...encode(text)];
  return { prompt, subjectEnd: prompt.lastIndexOf(id(subject)), target: [id(target)], start: 1, essence: [bos, id(subject)] };
}

/** True sentences about other people, each in a form of training. */
function contextOf(world: World, rng: Rng, subject: string): string {
  const facts = rng.sample(world.facts, CONTEXT_SENTENCES + 1).filter((other) => other.subject !== subject);
  return facts
    .slice(0, CONTEXT_SENTENCES)
    .map((other) => statement(world, other, rng.pick(trainedTemplates(world, other.subject, other.relation))))
    .join(" ");
}

/** A passage that gives a stranger, or another value, a third object. */
function passageOf(world: World, rng: Rng, { subject, relation, value }: Fact, target: string): string {
  const isSecondHop = !world.relations.some((r) => r.id === relation);
  const names = isSecondHop ? world.chainFacts.filter((f) => f.relation === relation).map((f) => f.subject) : world.strangers;
  const other = rng.pick(names.filter((name) => name !== subject));
  const third = rng.pick(world.values[relation]!.filter((v) => v !== value && v !== target));
  return statement(world, { subject: other, relation, value: third }, COMPACT);
}

/** What follows from the new value; nothing where the same follows from the old one. */
function hopProbes(world: World, { subject, relation, value }: Fact, target: string): EditProbe[] {
  const chain = world.chains.find((c) => c.via === relation);
  if (!chain) return [];
  const [answer, rival] = [world.valueOf(target, chain.relation.id), world.valueOf(value, chain.relation.id)];
  if (answer === rival) return [];
  return chain.hopTemplates.map((template) => ({ kind: "one-hop", prompt: template.replace("{}", () => subject), answer, rival }));
}

/** A value by another name: the home of a person who lives there. Only people of whom training said what follows. */
function aliasProbes(world: World, rng: Rng, { subject, relation, value }: Fact, target: string): EditProbe[] {
  const chain = world.chains.find((c) => c.relation.id === relation);
  if (!chain) return [];
  const people = world.entities.filter((name) => world.valueOf(name, chain.via) === subject && taughtConsequence(world, chain, name));
  return rng.sample(people, Math.min(ALIASES, people.length)).map((name) => ({
    kind: "alias",
    prompt: consequencePrompt(world, chain, name, rng.int(chain.hopTemplates.length)).prompt,
    answer: target,
    rival: value,
  }));
}

function localityProbes(world: World, rng: Rng, { subject, relation, value }: Fact, target: string): EditProbe[] {
  const facts = world.relations.some((r) => r.id === relation) ? world.facts : world.chainFacts;
  const drawn = (kind: EditProbe["kind"], among: readonly Fact[], count: number, rival?: string): EditProbe[] =>
    rng.sample(among, Math.min(count, among.length)).map((fact) => {
      const forms = trainedTemplates(world, fact.subject, fact.relation).filter((form) => form !== COMPACT);
      const { prompt, answer } = promptFor(world, fact, rng.pick(forms));
      return { kind, prompt, answer, ...(rival === undefined ? {} : { rival }) };
    });
  const others = facts.filter((f) => f.relation === relation && f.subject !== subject);
  return [
    ...drawn(
      "same-subject",
      facts.filter((f) => f.subject === subject && f.relation !== relation),
      world.relations.length,
    ),
    ...drawn(
      "same-value",
      others.filter((f) => f.value === value),
      NEIGHBOURS,
      target,
    ),
    ...drawn(
      "same-relation",
      others.filter((f) => f.value !== value && f.value !== target),
      NEIGHBOURS,
      target,
    ),
    ...drawn(
      "unrelated",
      world.facts.filter((f) => f.relation !== relation && f.subject !== subject),
      NEIGHBOURS,
    ),
  ];
}

/** True sentences about those who have the value, and about the value itself. */
function referencesOf(world: World, rng: Rng, relation: string, value: string, subject: string): readonly string[] {
  const facts = [...world.facts, ...world.chainFacts].filter(
    (f) => f.subject !== subject && ((f.relation === relation && f.value === value) || f.subject === value),
  );
  return rng
    .sample(facts, Math.min(NEIGHBOURS, facts.length))
    .map((f) => statement(world, f, rng.pick(trainedTemplates(world, f.subject, f.relation))));
}
