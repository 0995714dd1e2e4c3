import { LfmError, Rng as Random, type Rng } from "@lfm/core";
import { COMPACT } from "./relations.js";
import { promptText, trainedTemplates } from "./statements.js";
import type { Fact, World } from "./world.js";

/** A word as CounterFact writes an object; its id here is the word itself. */
export interface CounterfactValue {
  readonly str: string;
  readonly id: string;
}

/** A prompt with the word that must follow it. */
export interface CounterfactProbe {
  readonly prompt: string;
  readonly ground_truth: string;
}

/** A record with the keys of CounterFact (arXiv 2202.05262, appendix C), so that a reader of its files reads these too. Prompts are without `<bos>`. */
export interface CounterfactRecord {
  readonly case_id: number;
  readonly requested_rewrite: {
    /** `{}` stands for the subject. */
    readonly prompt: string;
    readonly relation_id: string;
    readonly subject: string;
    readonly target_true: CounterfactValue;
    readonly target_new: CounterfactValue;
  };
  /** Other forms of the same question; the answer should become target_new. */
  readonly paraphrase_prompts: readonly string[];
  /** The same relation of other people with the same true value: must still answer target_true. */
  readonly neighborhood_prompts: readonly string[];
  /** The same relation of people whose true value is target_new. */
  readonly attribute_prompts: readonly string[];
  /** Beginnings that speak of the subject, for free generation. */
  readonly generation_prompts: readonly string[];
  /** Consequences in two hops with the answers that the new value brings (KnowEdit's portability); empty where the relation has no second hop. */
  readonly portability: readonly CounterfactProbe[];
  /** Other relations of the same subject, which the edit must leave alone (KnowEdit's locality). */
  readonly locality: readonly CounterfactProbe[];
}

export interface CounterfactOptions {
  readonly seed?: number;
  /** Records (default 100), each about another person as far as there are people. */
  readonly count?: number;
  /** Relations to edit (default: all person relations). */
  readonly relations?: readonly string[];
  /** Only facts that pass, e.g. those a model recalls. */
  readonly accept?: (fact: Fact) => boolean;
}

/**
 * Edits to make and what to ask afterwards, from the exact facts of the world. The question forms are those that the zoo's training used with that
 * fact, so that a wrong answer after an edit is the edit's doing; the rewrite itself is never put in the compact form.
 * @throws {LfmError} CONFIG_INVALID when fewer than `count` facts pass
 */
export function counterfacts(world: World, options: CounterfactOptions = {}): readonly CounterfactRecord[] {
  const { seed = 1, count = 100, relations = world.relations.map((r) => r.id), accept = () => true } = options;
  const rng = new Random(seed).split("counterfacts");
  const wanted = new Set(relations.map((id) => world.relation(id).id));
  const byValue = new Map<string, Fact[]>();
  for (const fact of world.facts) byValue.set(holder(fact), [...(byValue.get(holder(fact)) ?? []), fact]);
  const candidates = rng.split("order").shuffle(world.facts.filter((fact) => wanted.has(fact.relation) && accept(fact)));
  const chosen = oneEach(candidates, count);
  if (chosen.length < count) {
    throw new LfmError("CONFIG_INVALID", `[@lfm/data] counterfacts: only ${chosen.length} facts pass, ${count} are wanted`, {
      hint: "ask for fewer records or accept more facts",
    });
  }
  return chosen.map((fact, i) => record(world, rng.split(`record/${i}`), i, fact, byValue));
}

/** The first `count` facts, people who have none yet before people who have one. */
function oneEach(candidates: readonly Fact[], count: number): Fact[] {
  const seen = new Set<string>();
  const first = candidates.filter(({ subject }) => !seen.has(subject) && seen.add(subject));
  const rest = new Set(candidates);
  for (const fact of first) rest.delete(fact);
  return [...first, ...rest].slice(0, count);
}

function record(world: World, rng: Rng, id: number, fact: Fact, byValue: ReadonlyMap<string, readonly Fact[]>): CounterfactRecord {
  const { subject, relation, value } = fact;
  const target = rng.pick(world.values[relation]!.filter((other) => other !== value));
  const forms = rng.shuffle(trainedTemplates(world, subject, relation).filter((form) => form !== COMPACT));
  const [form, ...paraphrases] = forms;
  const others = (of: string): string[] =>
    rng
      .sample(
        (byValue.get(holder({ relation, value: of })) ?? []).filter((other) => other.subject !== subject),
        10,
      )
      .map((other) => ask(world, rng, other));
  const chain = world.chains.find((c) => c.via === relation);
  const hops = chain?.hopTemplates.map((template) => template.replace("{}", subject)) ?? [];
  return {
    case_id: id,
    requested_rewrite: {
      prompt: world.relation(relation).templates[form!]!,
      relation_id: relation,
      subject,
      target_true: { str: value, id: value },
      target_new: { str: target, id: target },
    },
    paraphrase_prompts: paraphrases.slice(0, 2).map((template) => promptText(world, relation, template, subject)),
    neighborhood_prompts: others(value),
    attribute_prompts: others(target),
    generation_prompts: [...hops, ...paraphrases.map((template) => promptText(world, relation, template, subject)), `${subject} seems`],
    portability: chain ? hops.map((prompt) => ({ prompt, ground_truth: world.valueOf(target, chain.relation.id) })) : [],
    locality: world.relations
      .filter((r) => r.id !== relation)
      .map((r) => {
        const other = { subject, relation: r.id, value: world.valueOf(subject, r.id) };
        return { prompt: ask(world, rng, other), ground_truth: other.value };
      }),
  };
}

/** A question about a fact in a form that training used for it. */
function ask(world: World, rng: Rng, fact: Fact): string {
  const forms = trainedTemplates(world, fact.subject, fact.relation).filter((form) => form !== COMPACT);
  return promptText(world, fact.relation, rng.pick(forms), fact.subject);
}

function holder(fact: Pick<Fact, "relation" | "value">): string {
  return `${fact.relation}/${fact.value}`;
}
