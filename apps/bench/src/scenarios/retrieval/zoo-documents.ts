import { type CellOutcome, forgettingMonitor, parseConfig, provider, type Retention, Rng, takes } from "@lfm/core";
import { COMPACT, type Fact, type Passage, type Prompt, promptFor, type Query, type Run, statement, type World } from "@lfm/data";
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
import type { CellContext, Scenario } from "../../scenario.js";
import { runByKind } from "../run-by-kind.js";
import { findPassages, fraction } from "./search.js";
import { wordVectors } from "./word-vectors.js";

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
      const strange = ask(world, world.strangerFacts, context, "strangers");
      const familiar = ask(world, world.facts, context, "familiar");
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
        return share(
          said.map((a) => a.answer),
          prompts,
        );
      };
      const alone = async (prompts: readonly Prompt[]): Promise<number> => share(await answer(prompts.map((p) => p.prompt)), prompts);
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

/** Questions about a sample of facts, each in a random form that is not the documents' own. */
function ask(world: World, facts: readonly Fact[], context: CellContext, label: string): Prompt[] {
  const rng = context.rng.split(`questions/${label}`);
  return rng.sample(facts, QUESTIONS).map((fact) => {
    const forms = world.relation(fact.relation).templates.length - 1;
    return promptFor(world, fact, COMPACT + 1 + rng.int(forms));
  });
}

function passageOf(world: World, fact: Fact): Passage {
  return { id: `${fact.relation}/${fact.subject}`, text: statement(world, fact, COMPACT) };
}

/** Opinions about the same people: they hold the name that is asked about, and no answer. The same for every cell. */
function opinions(world: World): Passage[] {
  const rng = new Rng(world.seed).split("opinions");
  return world.strangers.flatMap((who) =>
    Array.from({ length: OPINIONS }, (_, i): Passage => {
      const [a, b] = rng.sample(rng.pick([world.moods.good, world.moods.bad]), 2);
      return { id: `opinion/${who}/${i}`, text: `${who} seems ${a} and ${b} .` };
    }),
  );
}

function queryOf(prompt: Prompt): Query {
  return { id: `${prompt.fact.relation}/${prompt.fact.subject}`, text: prompt.prompt };
}

/** The method's own options for RAG; the others read through its plain preset. */
function fromRun(run: Run, passages: readonly Passage[]) {
  const byId = new Map(passages.map((p) => [p.id, p]));
  return async (queries: readonly Query[], k: number): Promise<readonly (readonly Passage[])[]> =>
    queries.map((query) => (run.get(query.id) ?? []).slice(0, k).map((hit) => byId.get(hit.id)!));
}

function share(answers: readonly string[], prompts: readonly Prompt[]): number {
  return answers.filter((answer, i) => answer === prompts[i]!.answer).length / prompts.length;
}
