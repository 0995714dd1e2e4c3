import { LfmError, Rng as Random, type Rng } from "@lfm/core";
import { type Chain, COMPACT } from "./relations.js";
import { consequencePrompt, statement, taughtConsequence, trainedTemplates } from "./statements.js";
import type { Fact, World } from "./world.js";

/** What a training batch is made of. The recipe of the zoo moves through {@link readingStages} and then stays at {@link fullStage}. */
export interface CorpusStage {
  /** Strangers a reading row may draw from (the first n of `world.strangers`). */
  readonly names: number;
  /** Values per relation a reading row may draw from (the first n). */
  readonly values: number;
  /** Relations that rows may be about (the first n of `world.relations`). */
  readonly pool: number;
  /**
   * Relations that may occur in one reading row. 1 in the curriculum: with several, matching the relation alone is right
   * nine times in ten and the model stays there, never looking at the name.
   */
  readonly relations: number;
  /** Passages per reading row: [least, most]. */
  readonly passages: readonly [number, number];
  /** Chance that a passage is about a trained person: what it says holds in its row, whatever is true. */
  readonly known: number;
  /** Chance that a passage is about a person who already has one in this row. */
  readonly repeat: number;
  /** Ask about all passages again and again until the row is full, instead of once. */
  readonly fill: boolean;
  /** Chance that a question of a reading row is put in another than the compact form. */
  readonly paraphrase: number;
  /** Chance that a question of a reading row asks what follows from its passage, where something does: the second hop from what it says. */
  readonly hop: number;
  /** Share of the sentences about trained people that say what follows from two facts. */
  readonly consequences: number;
  /** Share of the rows that are reading rows, sentences about the trained people, and talk. Sums to 1. */
  readonly mix: { readonly reading: number; readonly facts: number; readonly talk: number };
}

/**
 * The curriculum of reading; the next stage comes when the running accuracy passes .95. (With .9 a habit that is right nine times in ten
 * takes root, and later stages stay below .9 for good.)
 * It begins with two passages of one relation: with four, or with the relation changing from row to row, a small model stays at
 * "one of the values that were mentioned" for as long as it was watched. Names double, then come the other relations, then passages.
 */
export function readingStages(world: World): CorpusStage[] {
  const names: number[] = [];
  for (let n = 40; n < world.strangers.length; n *= 2) names.push(n);
  const stage = (names: number, pool: number, most: number): CorpusStage => ({
    names,
    values: world.values[world.relations[0]!.id]!.length,
    pool,
    relations: 1,
    passages: [2, most],
    known: 0,
    repeat: 0,
    fill: true,
    paraphrase: 0,
    hop: 0,
    consequences: 0,
    mix: { reading: 1, facts: 0, talk: 0 },
  });
  const [everyone, all] = [world.strangers.length, world.relations.length];
  return [...names.map((n) => stage(n, 1, 2)), stage(everyone, 1, 2), ...[2, 3, 4, 6].map((most) => stage(everyone, all, most))];
}

/** The mixture after the curriculum: hard reading, facts, talk (with .1 of it a third of the pairs still were of two moods). */
export function fullStage(world: World, consequences = 0.25, reading = 0.3, talk = 0.2): CorpusStage {
  return {
    names: world.strangers.length,
    values: world.values[world.relations[0]!.id]!.length,
    pool: world.relations.length,
    relations: world.relations.length,
    passages: [3, 7],
    known: 0.2,
    repeat: 0.4,
    fill: false,
    paraphrase: 0.6,
    hop: 0.4,
    consequences,
    mix: { reading, facts: 1 - reading - talk, talk },
  };
}

/** Weights of the loss: 1 on answers, less on words that only frame them. */
export const frameWeight = 0.05;

export interface TrainingBatch {
  readonly rows: number;
  readonly length: number;
  /** i32 [rows, length]: input ids, every row starts with `<bos>`. */
  readonly tokens: Int32Array;
  /** i32 [rows, length]: the next token of each position, `<pad>` at the end. */
  readonly targets: Int32Array;
  /** f32 [rows, length]: weight of each target in the loss; the loss is sum(w·ce) / sum(w). */
  readonly weights: Float32Array;
  /** u8 [rows, length]: 1 where the target is an answer to be read out of a passage, 2 a fact to be recalled, 3 a word of the same mood, 4 what follows from a passage, 5 what follows from facts. */
  readonly answers: Uint8Array;
}

interface Row {
  readonly ids: number[];
  readonly marks: number[];
}

/**
 * Batch number `step` of the zoo's corpus: a pure function of (world, seed, step, stage, rows, length).
 * Facts are never stated in their held-out form; strangers' true facts are never stated at all (their values are drawn afresh in every row).
 */
export function zooBatch(
  world: World,
  options: { readonly seed: number; readonly step: number; readonly stage: CorpusStage; readonly rows?: number; readonly length?: number },
): TrainingBatch {
  const { seed, step, stage, rows = 32, length = 64 } = options;
  if (length < 48) throw new LfmError("CONFIG_INVALID", `@lfm/data: rows of the zoo's corpus need length >= 48, got ${length}`);
  const rng = new Random(seed).split("zoo-corpus").split(step);
  const tokens = new Int32Array(rows * length);
  const targets = new Int32Array(rows * length);
  const weights = new Float32Array(rows * length);
  const answers = new Uint8Array(rows * length);
  for (let r = 0; r < rows; r++) {
    // The mixture is laid out, not drawn: every batch has the same number of rows of each kind.
    const place = (r + 0.5) / rows;
    const row =
      place < stage.mix.reading
        ? readingRow(world, rng, stage, length + 1)
        : place < stage.mix.reading + stage.mix.facts
          ? factsRow(world, rng, stage, length + 1)
          : talkRow(world, rng, length + 1);
    const n = Math.min(length, row.ids.length - 1);
    for (let t = 0; t < n; t++) {
      const mark = row.marks[t + 1]!;
      tokens[r * length + t] = row.ids[t]!;
      targets[r * length + t] = row.ids[t + 1]!;
      weights[r * length + t] = mark > 0 ? 1 : frameWeight;
      answers[r * length + t] = Math.max(0, mark);
    }
  }
  return { rows, length, tokens, targets, weights, answers };
}

function start(world: World): Row {
  return { ids: [world.vocabulary.bos], marks: [0] };
}

/** Appends a sentence; its last word before the full stop gets `mark`. */
function append(world: World, row: Row, sentence: string, mark: number): void {
  const ids = world.vocabulary.encode(sentence);
  for (const [i, id] of ids.entries()) {
    row.ids.push(id);
    row.marks.push(i === ids.length - 2 ? mark : 0);
  }
}

/** Passages `relation person value .` about strangers with values drawn afresh, then questions about each of them, as far as they fit. */
function readingRow(world: World, rng: Rng, stage: CorpusStage, length: number): Row {
  const row = start(world);
  const passages = drawPassages(world, rng, stage);
  for (const { subject, relation, value } of rng.shuffle(passages))
    append(world, row, statement(world, { subject, relation, value }, COMPACT), 0);
  do {
    for (const fact of rng.shuffle(passages)) {
      const chain = world.chains.find((c) => c.via === fact.relation);
      const hop = chain && stage.hop > 0 && rng.uniform() < stage.hop ? chain : undefined;
      const sentence = hop ? hopQuestion(world, rng, hop, fact) : passageQuestion(world, rng, stage, fact);
      if (row.ids.length + sentence.split(" ").length > length) return row;
      append(world, row, sentence, hop ? 4 : 1);
    }
  } while (stage.fill);
  return row;
}

function passageQuestion(world: World, rng: Rng, stage: CorpusStage, fact: Fact): string {
  const forms = world.relation(fact.relation).templates.length;
  return statement(world, fact, rng.uniform() < stage.paraphrase ? 1 + rng.int(forms - 1) : COMPACT);
}

/** What follows from a passage: `the home of NAME lies in REALM .` where the passage says `home NAME CITY .` and CITY lies in REALM. */
function hopQuestion(world: World, rng: Rng, chain: Chain, { subject, value }: Fact): string {
  return `${rng.pick(chain.hopTemplates).replace("{}", subject)} ${world.valueOf(value, chain.relation.id)} .`;
}

/** Facts that hold in one row only: distinct (person, relation) pairs, values drawn uniformly. */
export function drawPassages(
  world: World,
  rng: Rng,
  stage: Pick<CorpusStage, "names" | "values" | "passages" | "known" | "repeat" | "pool" | "relations">,
): { subject: string; relation: string; value: string }[] {
  const count = stage.passages[0] + rng.int(stage.passages[1] - stage.passages[0] + 1);
  const relations = rng.sample(world.relations.slice(0, stage.pool), stage.relations);
  const trained = new Set(stage.known > 0 ? world.entities : []);
  const used = new Map<string, string[]>();
  const passages: { subject: string; relation: string; value: string }[] = [];
  while (passages.length < count) {
    const spokenOf = [...used.keys()];
    const again = spokenOf.length > 0 && rng.uniform() < stage.repeat;
    const subject = again
      ? rng.pick(spokenOf)
      : stage.known > 0 && rng.uniform() < stage.known
        ? rng.pick(world.entities)
        : world.strangers[rng.int(stage.names)]!;
    const relation = rng.pick(relations).id;
    const spoken = used.get(subject) ?? [];
    if ((!again && spoken.length > 0) || spoken.includes(relation)) continue;
    used.set(subject, [...spoken, relation]);
    // Never the truth about a trained person: a question would state it, in its held-out form too, or what follows from it.
    const isTrained = trained.has(subject);
    let value: string;
    do value = world.values[relation]![rng.int(stage.values)]!;
    while (isTrained && value === world.valueOf(subject, relation));
    passages.push({ subject, relation, value });
  }
  return passages;
}

/** Facts and their consequences (a quarter of the sentences), each in one of its trained forms. */
function factsRow(world: World, rng: Rng, stage: CorpusStage, length: number): Row {
  const row = start(world);
  for (;;) {
    const hop = rng.uniform() < stage.consequences;
    const sentence = hop ? consequenceSentence(world, rng) : factSentence(world, rng);
    if (row.ids.length + sentence.split(" ").length > length) return row;
    append(world, row, sentence, hop ? 5 : 2);
  }
}

/** What follows from two facts, of those that are taught. */
function consequenceSentence(world: World, rng: Rng): string {
  const chain = rng.pick(world.chains);
  let subject = rng.pick(world.entities);
  while (!taughtConsequence(world, chain, subject)) subject = rng.pick(world.entities);
  const { prompt, answer } = consequencePrompt(world, chain, subject, rng.int(chain.hopTemplates.length));
  return `${prompt} ${answer} .`;
}

/** A fact of a trained person, or of a value (one in twelve). */
function factSentence(world: World, rng: Rng): string {
  const fact = rng.pick(rng.int(12) === 0 ? world.chainFacts : world.facts);
  return statement(world, fact, rng.pick(trainedTemplates(world, fact.subject, fact.relation)));
}

const DEGREES = ["", "", "", "very ", "rather ", "not ", "never ", "hardly "];

/** Opinions about people: two words of the same mood, so that mood words mean something to the model. */
function talkRow(world: World, rng: Rng, length: number): Row {
  const row = start(world);
  for (;;) {
    const mood = rng.int(2) === 0 ? world.moods.good : world.moods.bad;
    const [a, b] = rng.sample(mood, 2);
    const who = rng.pick(rng.int(2) === 0 ? world.entities : world.strangers);
    const sentence = `${who} seems ${rng.pick(DEGREES)}${a} and ${b} .`;
    if (row.ids.length + sentence.split(" ").length > length) return row;
    append(world, row, sentence, 3);
  }
}
