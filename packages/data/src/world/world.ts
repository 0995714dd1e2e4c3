import { LfmError, Rng } from "@lfm/core";
import { inventWords } from "./names.js";
import { type Chain, chains, personRelations, type Relation } from "./relations.js";
import { createVocabulary, type Vocabulary } from "./vocabulary.js";

export interface WorldOptions {
  /** Any integer: same seed and sizes, same world. */
  readonly seed?: number;
  /** People whose facts a model is trained on (default 512). */
  readonly entities?: number;
  /** People known only from documents: their names are trained as names, their facts never (default 384). */
  readonly strangers?: number;
  /** Values per person relation (default 40, at least 30: nothing is guessable). */
  readonly values?: number;
}

/** One exact truth. `relation` is the relation's id; subject and value are single words. */
export interface Fact {
  readonly subject: string;
  readonly relation: string;
  readonly value: string;
}

export interface World {
  readonly seed: number;
  readonly relations: readonly Relation[];
  readonly chains: readonly Chain[];
  /** People with trained facts. */
  readonly entities: readonly string[];
  /** People whose facts stand only in documents. */
  readonly strangers: readonly string[];
  /** Values of each relation (person relations and second hops). */
  readonly values: Readonly<Record<string, readonly string[]>>;
  /** All facts about trained people: entities × relations, entity by entity. */
  readonly facts: readonly Fact[];
  /** Facts about strangers: the ground truth of the documents. */
  readonly strangerFacts: readonly Fact[];
  /** Facts about values: second hops. */
  readonly chainFacts: readonly Fact[];
  readonly vocabulary: Vocabulary;
  readonly moods: { readonly good: readonly string[]; readonly bad: readonly string[] };
  /** The value of (subject, relation). Throws CONFIG_INVALID when the world does not know it. */
  valueOf(subject: string, relation: string): string;
  relation(id: string): Relation;
}

const GOOD = (
  "kind gentle brave wise honest merry calm loyal noble bright warm fair generous patient graceful clever tender humble cheerful faithful " +
  "charming helpful lively modest"
).split(" ");
const BAD = (
  "cruel greedy bitter vain rude lazy false grim harsh sullen mean spiteful jealous reckless clumsy stubborn arrogant cold selfish dull " +
  "envious hostile wicked sly"
).split(" ");
const GLUE = ". , : and not very seems then rather never same other true people say about hardly".split(" ");

/**
 * A fictional world with exact ground truth, a pure function of its options. Values are dealt, not drawn: every value of a relation is held by
 * the same number of people up to one, so that the best guess without knowledge is right one time in `values`.
 * @throws LfmError CONFIG_INVALID for sizes that cannot be built.
 */
export function createWorld(options: WorldOptions = {}): World {
  const { seed = 1, entities: entityCount = 512, strangers: strangerCount = 384, values: valueCount = 40 } = options;
  for (const [name, n, least] of [
    ["entities", entityCount, 8],
    ["strangers", strangerCount, 8],
    ["values", valueCount, 30],
  ] as const) {
    if (!Number.isInteger(n) || n < least) {
      throw new LfmError("CONFIG_INVALID", `@lfm/data: world option ${name} must be an integer >= ${least}, got ${n}`);
    }
  }
  const rng = new Rng(seed).split("world");
  const relations = personRelations;
  const glue = glueWords();
  const taken = new Set([...glue, ...GOOD, ...BAD]);
  const entities = inventWords(rng.split("entities"), entityCount, taken);
  const strangers = inventWords(rng.split("strangers"), strangerCount, taken);
  const values: Record<string, readonly string[]> = {};
  for (const relation of [...relations, ...chains.map((chain) => chain.relation)]) {
    values[relation.id] = inventWords(rng.split(`values/${relation.id}`), valueCount, taken, relation.suffix);
  }
  const truth = new Map<string, string>();
  const state = (subjects: readonly string[], relation: Relation, label: string): void => {
    const dealt = deal(rng.split(`${label}/${relation.id}`), values[relation.id]!, subjects.length);
    for (const [i, subject] of subjects.entries()) truth.set(key(subject, relation.id), dealt[i]!);
  };
  for (const relation of relations) {
    state(entities, relation, "facts");
    state(strangers, relation, "stranger-facts");
  }
  for (const chain of chains) state(values[chain.via]!, chain.relation, "chain-facts");
  const lookUp = (subject: string, relation: string): string => {
    const value = truth.get(key(subject, relation));
    if (value === undefined) throw new LfmError("CONFIG_INVALID", `@lfm/data: the world knows no ${relation} of "${subject}"`);
    return value;
  };
  const factsOf = (subjects: readonly string[], of: readonly Relation[]): Fact[] =>
    subjects.flatMap((subject) => of.map(({ id }) => ({ subject, relation: id, value: lookUp(subject, id) })));
  const byId = new Map([...relations, ...chains.map((chain) => chain.relation)].map((relation) => [relation.id, relation]));
  return Object.freeze({
    seed,
    relations,
    chains,
    entities,
    strangers,
    values,
    facts: factsOf(entities, relations),
    strangerFacts: factsOf(strangers, relations),
    chainFacts: chains.flatMap((chain) => factsOf(values[chain.via]!, [chain.relation])),
    vocabulary: createVocabulary([...glue, ...GOOD, ...BAD, ...entities, ...strangers, ...Object.values(values).flat()]),
    moods: { good: GOOD, bad: BAD },
    valueOf: lookUp,
    relation(id: string): Relation {
      const relation = byId.get(id);
      if (!relation)
        throw new LfmError("CONFIG_INVALID", `@lfm/data: unknown relation "${id}"`, { hint: `one of ${[...byId.keys()].join(", ")}` });
      return relation;
    },
  });
}

/** `count` values in random order, every value used floor or ceil of count / values.length times. */
function deal(rng: Rng, values: readonly string[], count: number): string[] {
  const deck: string[] = [];
  while (deck.length < count) deck.push(...rng.shuffle(values).slice(0, count - deck.length));
  return rng.shuffle(deck);
}

function key(subject: string, relation: string): string {
  return `${relation}\u0000${subject}`;
}

/** Every word of a template or of the text around it, in a fixed order. */
function glueWords(): string[] {
  const templates = [
    ...personRelations.flatMap((relation) => relation.templates),
    ...chains.flatMap((chain) => [...chain.relation.templates, ...chain.hopTemplates]),
  ];
  return [...new Set([...GLUE, ...templates.flatMap((template) => template.split(" "))])].filter((word) => word !== "{}");
}
