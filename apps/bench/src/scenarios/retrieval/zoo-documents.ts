import { type CellOutcome, forgettingMonitor, parseConfig, provider, type Retention, Rng, takes } from "@lfm/core";
import type { Passage, Prompt, World } from "@lfm/data";
import { createAnswerer, loadZoo } from "@lfm/models/zoo";
import {
  type Answerer,
  answererInput,
  bm25,
  measure,
  noiseCurve,
  noiseMonitor,
  queriesInput,
  type RagAnswer,
  type RagConfig,
  rag,
  retrieverInput,
} from "@lfm/retrieval";
import type { Scenario } from "../../scenario.js";
import { runByKind } from "../run-by-kind.js";
import { findPassages, fraction } from "./search.js";
import { wordVectors } from "./word-vectors.js";
import { askAbout, fromRun, opinionOf, passageOf, queryOf, shareRight } from "./zoo-questions.js";

/** Questions about strangers, and as many about people that the model knows. */
const QUESTIONS = 256;
/** Questions of each point of the noise curve. */
const NOISE_QUESTIONS = 128;
/**
 * Passages in a prompt where the method leaves it open: fewer than there are about one person, so that a search has to know what is asked, not
 * only of whom. The order of the passages and how texts become vectors were chosen on facts invented for that purpose.
 */
const PASSAGES = 3;
/** Sentences about each person that answer nothing. */
const OPINIONS = 2;

/**
 * People that the zoo's language model has never heard a true fact of: what there is to know stands in documents, one compact sentence
 * each (`home NAME VALUE .`), eight about a person, among opinions about the same people. It is asked in other words than the documents use
 * (`NAME lives in`): words alone find the person, hardly the relation.
 */
export const zooDocuments: Scenario = {
  id: "zoo-documents",
  paradigm: "retrieval",
  model: "zoo-lm",
  summary:
    "Questions whose answers stand only in documents; share of questions that the model, with the found passages in its prompt, answers with exactly the right word.",
  headline: "accuracy",
  access: ["weights", "activations", "logits", "labels", "tokenizer"],
  async run(cell, context): Promise<CellOutcome> {
    // A method that answers is given what bm25 finds; one that searches is followed by plain rag.
    const answers = takes(cell.method, "answerer");
    const searching = answers ? { method: bm25, config: { analyzer: "words" } } : cell;
    const answering = answers ? cell : { method: rag, config: parseConfig(rag, { passages: PASSAGES }, "plain") };
    const zoo = await context.shared("zoo", loadZoo);
    const { world, lm } = zoo;
    const answerer = await createAnswerer(context.engine, lm, world);
    const answer: Answerer = (prompts) => answerer.answer(prompts);
    try {
      const facts = world.strangerFacts.map((fact) => passageOf(world, fact));
      const passages = [...facts, ...opinions(world)];
      const strange = askAbout(world, world.strangerFacts, QUESTIONS, context.rng.split("questions/strangers"));
      const familiar = askAbout(world, world.facts, QUESTIONS, context.rng.split("questions/familiar"));
      const questions = [...strange, ...familiar].map(queryOf);
      const config = answering.config as RagConfig;
      const collection = { passages, queries: questions, encoder: wordVectors(lm, world), analyzer: "words" } as const;
      const started = performance.now();
      const { run, bytes } = await findPassages("zoo-documents", searching, collection, context);
      const searchMs = performance.now() - started;
      const withPassages = async (prompts: readonly Prompt[]): Promise<number> => {
        const given = [
          provider(queriesInput, () => prompts.map(queryOf)),
          provider(retrieverInput, () => fromRun(run, passages)),
          provider(answererInput, () => answer),
        ];
        const said = await runByKind<readonly RagAnswer[]>("zoo-documents", answering, given, context);
        return shareRight(
          said.map((a) => a.answer),
          prompts,
        );
      };
      const alone = async (prompts: readonly Prompt[]): Promise<number> => shareRight(await answer(prompts.map((p) => p.prompt)), prompts);
      const accuracy = await withPassages(strange);
      const before = await alone(familiar);
      const after = await withPassages(familiar);
      const retention: Retention = {
        of: "accuracy on trained facts, asked through the same pipeline",
        before,
        after,
        kept: before > 0 ? after / before : 0,
      };
      const curve = await noiseCurve({
        questions: strange
          .slice(0, NOISE_QUESTIONS)
          .map((p) => ({ text: p.prompt, answer: p.answer, relevant: [passageOf(world, p.fact)] })),
        distractors: facts,
        answer,
        template: config.template,
        separator: config.separator,
        rng: context.rng.split("noise"),
      });
      const qrels = Object.fromEntries(strange.map((p) => [queryOf(p).id, { [passageOf(world, p.fact).id]: 1 }]));
      const found = (name: string): number => measure(run, qrels, name, { queries: "judged" }).mean;
      const without = await alone(strange);
      return {
        metrics: {
          accuracy: { ...fraction(accuracy, `exactly the right word, with ${config.passages} passages`), base: without },
          accuracyWithoutPassages: fraction(without, "the same questions without retrieval"),
          [`recall@${PASSAGES}`]: fraction(found(`recall@${PASSAGES}`), "questions whose passage is among those found"),
          mrr: fraction(found("mrr"), "mean of 1 / rank of the passage"),
        },
        retention,
        trainableParams: 0,
        bytes,
        queries: 0,
        dataUsed: passages.length,
        monitors: [noiseMonitor(curve), forgettingMonitor(retention, "input")],
        curves: { "accuracy by share of irrelevant passages": curve },
        phasesMs: { search: searchMs },
        modelHash: zoo.lmHash,
      };
    } finally {
      await answerer.dispose();
    }
  },
};

/** Opinions about the same people: they hold the name that is asked about, and no answer. The same for every cell. */
function opinions(world: World): Passage[] {
  const rng = new Rng(world.seed).split("opinions");
  return world.strangers.flatMap((who) => Array.from({ length: OPINIONS }, (_, i) => opinionOf(world, who, i, rng)));
}
