import { type CellOutcome, checkProvided, type Engine, type Model, type Rng } from "@lfm/core";
import type { Fact, Prompt, World } from "@lfm/data";
import { createPredictor } from "@lfm/models";
import { loadZoo } from "@lfm/models/zoo";
import { atRandom, type Draft, fillPrompt, type RetrievalPolicy, whenUnsure } from "@lfm/retrieval";
import { z } from "zod";
import type { CellContext, CellMethod, Scenario } from "../../scenario.js";
import { findPassages, fraction, searched } from "./search.js";
import { wordVectors } from "./word-vectors.js";
import { askAbout, fromRun, opinionOf, passageOf, queryOf, shareRight } from "./zoo-questions.js";

const options = z.strictObject({
  questions: z.number().int().positive().default(256).describe("questions about people that the model knows, and as many about strangers"),
  validation: z.number().int().positive().default(128).describe("other such questions, which choose the threshold"),
});

const PASSAGES = 8;
/** Opinions about everybody: what is found of people whom no document states a fact about. */
const OPINIONS = 2;
/** Share of the questions that may be looked up. */
const MOST = 0.6;
/** Thresholds that are tried, on validation questions. */
const THRESHOLDS = [0, 0.2, 0.4, 0.6, 0.7, 0.8, 0.9, 0.95, 0.98, 0.99, 0.995, 0.999];

/** Which questions to look up: half of them the model could answer itself. */
export const adaptiveRetrieval: Scenario = {
  id: "adaptive-retrieval",
  paradigm: "retrieval",
  model: "zoo-lm",
  summary: `Questions of which the model knows one half and documents alone the other. It looks up where its own answer is less probable than a threshold (FLARE's policy); of those that look up at most ${100 * MOST} % of validation questions, the threshold is the one with most right answers there. Accuracy is that of the policy on test questions, beside always, never, and at random as often.`,
  headline: "accuracy",
  access: ["weights", "activations", "logits", "labels", "tokenizer"],
  options,
  async run(cell, context): Promise<CellOutcome> {
    checkProvided("[@lfm/bench] adaptive-retrieval", cell.method, cell.config, searched);
    const { questions, validation } = options.parse(cell.options ?? {});
    const { world, lm, lmHash } = await context.shared("zoo", loadZoo);
    const tests = questionsOf(world, isTest, questions, context.rng.split("test"));
    const trials = questionsOf(world, (i) => !isTest(i), validation, context.rng.split("validation"));
    const { passages, found, bytes } = await lookUp(world, lm, cell, [...tests, ...trials], context);
    const predict = await wordPredictor(context.engine, lm, world);
    try {
      const read = async (prompts: readonly Prompt[]): Promise<Answered[]> => {
        const retrieved = await found(prompts);
        const alone = await predict.answer(prompts.map((p) => p.prompt));
        const told = await predict.answer(prompts.map((p, i) => fillPrompt("{passages} {question}", " ", retrieved[i]!, p.prompt)));
        return prompts.map((prompt, i) => ({ prompt, draft: alone[i]!, alone: alone[i]!.pieces[0]!.text, told: told[i]!.pieces[0]!.text }));
      };
      const [tested, tried] = [await read(tests), await read(trials)];
      const theta = chosen(tried);
      const adaptive = followed(tested, whenUnsure({ theta }));
      const random = followed(tested, atRandom(adaptive.rate, context.rng.split("random")));
      const [always, never] = [followed(tested, whenUnsure({ theta: 2 })), followed(tested, whenUnsure({ theta: 0 }))];
      const curve = (policy: (theta: number) => RetrievalPolicy): [number, number][] =>
        [...THRESHOLDS, 2].map((t) => followed(tested, policy(t))).map(({ rate, accuracy }) => [rate, accuracy]);
      return {
        metrics: {
          accuracy: { ...fraction(adaptive.accuracy, "looked up where the model is unsure"), base: never.accuracy },
          retrievalRate: {
            value: adaptive.rate,
            unit: "fraction",
            higherIsBetter: false,
            note: "share of the questions that were looked up",
          },
          keptOfAlways: fraction(adaptive.accuracy / always.accuracy, "accuracy over that of always looking up"),
          accuracyAlways: fraction(always.accuracy, "every question looked up"),
          accuracyNever: fraction(never.accuracy, "no question looked up"),
          accuracyRandom: fraction(random.accuracy, "as many questions looked up, chosen at random"),
          threshold: {
            value: theta,
            unit: "probability",
            higherIsBetter: true,
            note: "of the answer's word, chosen on validation questions",
          },
        },
        retention: null,
        trainableParams: 0,
        bytes,
        queries: 0,
        dataUsed: passages,
        monitors: [],
        curves: {
          "accuracy by share of questions looked up: at random": straight(never, always),
          "accuracy by share of questions looked up: where unsure": curve((t) => whenUnsure({ theta: t })),
        },
        modelHash: lmHash,
      };
    } finally {
      await predict.dispose();
    }
  },
};

/** By the number of a fact: no fact is in both sets. */
const isTest = (fact: number): boolean => fact % 3 !== 0;

/** Questions about strangers, and as many about people that the model knows. */
function questionsOf(world: World, chosen: (fact: number) => boolean, count: number, rng: Rng): Prompt[] {
  const of = (facts: readonly Fact[], label: string): Prompt[] =>
    askAbout(
      world,
      facts.filter((_, i) => chosen(i)),
      count,
      rng.split(label),
    );
  return [...of(world.strangerFacts, "strangers"), ...of(world.facts, "familiar")];
}

interface Answered {
  readonly prompt: Prompt;
  readonly draft: Draft;
  readonly alone: string;
  readonly told: string;
}

interface Followed {
  readonly accuracy: number;
  readonly rate: number;
}

/** What comes of a policy: the answer from passages where it looks something up, else the model's own. */
function followed(answered: readonly Answered[], policy: RetrievalPolicy): Followed {
  const looked = answered.map(({ draft, prompt }) => policy.lookUp(draft, prompt.prompt) !== undefined);
  return {
    accuracy: shareRight(
      answered.map((a, i) => (looked[i] ? a.told : a.alone)),
      answered.map((a) => a.prompt),
    ),
    rate: looked.filter(Boolean).length / looked.length,
  };
}

/** The threshold with most right answers among those that look up little enough; of equals the lowest. */
function chosen(tried: readonly Answered[]): number {
  const tries = THRESHOLDS.map((theta) => ({ theta, ...followed(tried, whenUnsure({ theta })) })).filter(({ rate }) => rate <= MOST);
  return tries.reduce((best, one) => (one.accuracy > best.accuracy ? one : best)).theta;
}

/** Looking up at random is on average on the line between never and always. */
function straight(never: Followed, always: Followed): [number, number][] {
  return [0, 0.25, 0.5, 0.75, 1].map((rate) => [rate, never.accuracy + rate * (always.accuracy - never.accuracy)]);
}

/** What a method finds for questions among all that is said of strangers, and opinions about everybody. */
async function lookUp(world: World, lm: Model, cell: CellMethod, prompts: readonly Prompt[], context: CellContext) {
  const rng = context.rng.split("opinions");
  const opinions = [...world.strangers, ...world.entities].flatMap((who) =>
    Array.from({ length: OPINIONS }, (_, i) => opinionOf(world, who, i, rng)),
  );
  const passages = [...world.strangerFacts.map((fact) => passageOf(world, fact)), ...opinions];
  const collection = { passages, queries: prompts.map(queryOf), encoder: wordVectors(lm, world), analyzer: "words" } as const;
  const { run, bytes } = await findPassages("adaptive-retrieval", cell, collection, context);
  const retrieve = fromRun(run, passages);
  return { passages: passages.length, bytes, found: (some: readonly Prompt[]) => retrieve(some.map(queryOf), PASSAGES) };
}

/** The most probable next word of each prompt as a draft: one piece with its probability. */
async function wordPredictor(engine: Engine, model: Model, world: World) {
  const predictor = await createPredictor(engine, model, "next", { batchSize: 64 });
  const draft = (logits: Float32Array): Draft => {
    const best = logits.reduce((at, value, i) => (value > logits[at]! ? i : at), 0);
    const total = logits.reduce((sum, value) => sum + Math.exp(value - logits[best]!), 0);
    return { pieces: [{ text: world.vocabulary.words[best] ?? "<unk>", probability: 1 / total }], ended: true };
  };
  return {
    answer: async (prompts: readonly string[]): Promise<Draft[]> => {
      const rows = prompts.map((prompt) => [world.vocabulary.bos, ...world.vocabulary.encode(prompt)]);
      return (await predictor.predict(rows)).map(({ data }) => draft(data as Float32Array));
    },
    dispose: predictor.dispose,
  };
}
