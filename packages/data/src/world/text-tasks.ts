import { type HostTensor, LfmError, padRows, padValues, Rng as Random, type Rng } from "@lfm/core";
import { promptText, trainedTemplates } from "./statements.js";
import type { World } from "./world.js";

/** What is true of a sentence: every task reads one of these, all of them hold of the same sentence. */
export interface SentenceFacts {
  /** The adjectives are 0 good, 1 bad words. */
  readonly mood: number;
  /** 1: the opinion is denied (not, never, hardly). */
  readonly negation: number;
  /** 0: spoken well of, 1: badly, the denial counted in. */
  readonly verdict: number;
  /** The opinion is about 0 a person with trained facts, 1 a stranger. */
  readonly acquaintance: number;
  /** 1: opinion and statement are about the same person. */
  readonly same: number;
  /** 0: the opinion comes first. */
  readonly order: number;
  /** Which quarter of the relations the statement is about. */
  readonly topic: number;
}

export interface TextItem {
  readonly text: string;
  /** Token ids, `<bos>` first; ends in ":". The answer is the next word. */
  readonly prompt: readonly number[];
  /** Token id of the label. */
  readonly answer: number;
  /** Index into {@link TextTask.labels}. */
  readonly label: number;
}

export interface TextTask {
  readonly id: keyof SentenceFacts;
  readonly question: string;
  /** Token ids that may answer; no two tasks share one. Accuracy is the argmax over these. */
  readonly labels: readonly number[];
  /** What each label means. */
  readonly meanings: readonly string[];
  readonly train: readonly TextItem[];
  readonly validation: readonly TextItem[];
  readonly test: readonly TextItem[];
}

const TASKS: readonly { readonly id: keyof SentenceFacts; readonly question: string; readonly meanings: readonly string[] }[] = [
  { id: "mood", question: "Are the adjectives good or bad words?", meanings: ["good", "bad"] },
  { id: "negation", question: "Is the opinion denied?", meanings: ["affirmed", "denied"] },
  { id: "verdict", question: "Is the person spoken well of, all in all?", meanings: ["well", "badly"] },
  { id: "acquaintance", question: "Is the opinion about a person whose facts are known?", meanings: ["known person", "stranger"] },
  { id: "same", question: "Are both sentences about one person?", meanings: ["two persons", "one person"] },
  { id: "order", question: "What comes first?", meanings: ["opinion", "statement"] },
  { id: "topic", question: "Which pair of relations is the statement about?", meanings: ["first", "second", "third", "fourth"] },
];
const PLAIN = ["", "very", "rather"];
const DENIED = ["not", "never", "hardly"];
/** Combinations of all independent properties: mood, negation, acquaintance, same, order (2 each) and topic (4). */
const COMBINATIONS = 128;

export interface TextTaskOptions {
  readonly seed?: number;
  /** Sentences of each split; multiples of 128 give exactly balanced labels. */
  readonly train?: number;
  readonly validation?: number;
  readonly test?: number;
}

/**
 * Seven classification tasks on the same sentences, each an opinion and a statement about people of the world, e.g.
 * `kera seems hardly kind and noble . the home of kera is dranton . :` → `<l3>`. The prompt does not say which task is meant: a language
 * model is tuned on one task, and several such models can be merged, since every task has label tokens of its own. No person occurs in two
 * splits, no sentence twice. Statements about known people are true; those about strangers use values drawn afresh, so that nothing of the
 * documents leaks.
 * @throws {LfmError} CONFIG_INVALID for counts that are not positive integers
 */
export function textTasks(world: World, options: TextTaskOptions = {}): readonly TextTask[] {
  const { seed = 1, train = 1024, validation = 256, test = 512 } = options;
  const counts = { train, validation, test };
  for (const [name, n] of Object.entries(counts)) {
    if (!Number.isInteger(n) || n < 1)
      throw new LfmError("CONFIG_INVALID", `[@lfm/data] text tasks: ${name} must be a positive integer, got ${n}`);
  }
  const rng = new Random(seed).split("text-tasks");
  const people = {
    known: splitPeople(world.entities, rng.split("known")),
    strangers: splitPeople(world.strangers, rng.split("strangers")),
  };
  const seen = new Set<string>();
  const sentences = Object.fromEntries(
    (["train", "validation", "test"] as const).map((split) => [
      split,
      drawSentences(world, rng.split(split), counts[split], people.known[split], people.strangers[split], seen),
    ]),
  ) as Record<"train" | "validation" | "test", Sentence[]>;
  let next = 0;
  return TASKS.map(({ id, question, meanings }) => {
    const labels = meanings.map(() => world.vocabulary.id(`<l${next++}>`));
    const items = (list: readonly Sentence[]): TextItem[] =>
      list.map((s) => ({ text: s.text, prompt: s.prompt, answer: labels[s.facts[id]]!, label: s.facts[id] }));
    return {
      id,
      question,
      labels,
      meanings,
      train: items(sentences.train),
      validation: items(sentences.validation),
      test: items(sentences.test),
    };
  });
}

/**
 * Prompts with their answers, right-padded to the longest: `tokens` i32[n, len], `weights` f32[n, len] (1 on the answer token alone, as
 * a language-model loss wants it) and `ends` (position of the last prompt token, where the answer is predicted).
 */
export function packTextItems(
  world: Pick<World, "vocabulary">,
  items: readonly TextItem[],
): { readonly tokens: HostTensor; readonly weights: HostTensor; readonly ends: readonly number[] } {
  const { tokens } = padRows(
    items.map((item) => [...item.prompt, item.answer]),
    { fill: world.vocabulary.pad },
  );
  const answers = items.map((item) => [...item.prompt.map(() => 0), 1]);
  return { tokens, weights: padValues("f32", answers), ends: items.map((item) => item.prompt.length - 1) };
}

interface Sentence {
  readonly text: string;
  readonly prompt: readonly number[];
  readonly facts: SentenceFacts;
}

function splitPeople(people: readonly string[], rng: Rng): { train: string[]; validation: string[]; test: string[] } {
  const shuffled = rng.shuffle(people);
  const [a, b] = [Math.floor(0.6 * people.length), Math.floor(0.75 * people.length)];
  return { train: shuffled.slice(0, a), validation: shuffled.slice(a, b), test: shuffled.slice(b) };
}

function drawSentences(
  world: World,
  rng: Rng,
  count: number,
  known: readonly string[],
  strangers: readonly string[],
  seen: Set<string>,
): Sentence[] {
  const rounds = Math.ceil(count / COMBINATIONS);
  const combinations = Array.from({ length: rounds }, () => rng.shuffle(Array.from({ length: COMBINATIONS }, (_, i) => i))).flat();
  return combinations.slice(0, count).map((combination) => {
    for (;;) {
      const sentence = draw(world, rng, combination, known, strangers);
      if (seen.has(sentence.text)) continue;
      seen.add(sentence.text);
      return sentence;
    }
  });
}

function draw(world: World, rng: Rng, combination: number, known: readonly string[], strangers: readonly string[]): Sentence {
  const bit = (i: number): number => (combination >> i) & 1;
  const [mood, negation, acquaintance, same, order, topic] = [bit(0), bit(1), bit(2), bit(3), bit(4), combination >> 5];
  const group = acquaintance === 0 ? known : strangers;
  const who = rng.pick(group);
  const others = rng.int(2) === 0 ? known : strangers;
  let other = who;
  while (same === 0 && other === who) other = rng.pick(others);
  const [a, b] = rng.sample(mood === 0 ? world.moods.good : world.moods.bad, 2);
  const degree = rng.pick(negation === 0 ? PLAIN : DENIED);
  const opinion = `${who} seems ${degree === "" ? "" : `${degree} `}${a} and ${b} .`;
  const quarter = world.relations.length / 4;
  const relation = world.relations[Math.floor(topic * quarter) + rng.int(Math.floor(quarter))]!.id;
  const isStranger = same === 1 ? acquaintance === 1 : others === strangers;
  const value = isStranger ? rng.pick(world.values[relation]!) : world.valueOf(other, relation);
  const statement = `${promptText(world, relation, rng.pick(trainedTemplates(world, other, relation)), other)} ${value} .`;
  const text = `${order === 0 ? `${opinion} ${statement}` : `${statement} ${opinion}`} :`;
  return {
    text,
    prompt: [world.vocabulary.bos, ...world.vocabulary.encode(text)],
    facts: { mood, negation, verdict: mood ^ negation, acquaintance, same, order, topic },
  };
}
