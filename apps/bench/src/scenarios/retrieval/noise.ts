import { type CellOutcome, checkProvided, parseConfig, type Rng } from "@lfm/core";
import type { Fact, Passage, Prompt, World } from "@lfm/data";
import { createAnswerer, loadZoo } from "@lfm/models/zoo";
import { fillPrompt, measure, noiseMonitor, type RagConfig, rag } from "@lfm/retrieval";
import { z } from "zod";
import type { Scenario } from "../../scenario.js";
import { findPassages, fraction, searched } from "./search.js";
import { wordVectors } from "./word-vectors.js";
import { askAbout, fromRun, opinionOf, passageOf, queryOf, shareRight } from "./zoo-questions.js";

const options = z.strictObject({
  people: z.array(z.number().int().positive()).min(1).default([48, 384]).describe("people whom the documents are about: eight facts each"),
  shares: z.array(z.number().min(0).lt(1)).min(2).default([0, 0.2, 0.4, 0.6, 0.8]).describe("share of noise in the database, from 0"),
  questions: z.number().int().positive().default(256).describe("questions at each size and share"),
});

/** Passages in a prompt: fewer than there are about one person. */
const PASSAGES = 3;
/** What the monitor lets noise cost. */
const THRESHOLD = 0.15;

const kinds = {
  irrelevant: {
    summary: "opinions about the people that are asked about, which answer nothing",
    /** For each fact, on average `per` of them. */
    noise: (world: World, facts: readonly Fact[], per: number, rng: Rng): Passage[] =>
      facts.flatMap((fact, i) => Array.from({ length: drawn(per, rng) }, (_, j) => opinionOf(world, fact.subject, 1000 * i + j, rng))),
  },
  contradicting: {
    summary: "the same statements with other values, which are false",
    noise: (world: World, facts: readonly Fact[], per: number, rng: Rng): Passage[] =>
      facts.flatMap((fact) =>
        rng
          .sample(
            world.values[fact.relation]!.filter((value) => value !== fact.value),
            drawn(per, rng),
          )
          .map((value, j) => {
            const { id, text } = passageOf(world, { ...fact, value });
            return { id: `${id}/false/${j}`, text };
          }),
      ),
  },
} as const;

/** A whole number that is `mean` on average. */
function drawn(mean: number, rng: Rng): number {
  return Math.floor(mean) + (rng.uniform() < mean % 1 ? 1 : 0);
}

/** What noise in a database does to searching it and to answering from it. */
function noiseScenario(kind: keyof typeof kinds): Scenario {
  return {
    id: `${kind}-noise`,
    paradigm: "retrieval",
    model: "zoo-lm",
    summary: `A database in which a share of all passages is noise: ${kinds[kind].summary}. Accuracy is the mean over sizes and shares; the monitor looks at one half of the questions, what noise costs is measured on the other.`,
    headline: "accuracy",
    access: ["weights", "activations", "logits", "labels", "tokenizer"],
    options,
    async run(cell, context): Promise<CellOutcome> {
      checkProvided(`[@lfm/bench] ${kind}-noise`, cell.method, cell.config, searched);
      const { people, shares, questions } = options.parse(cell.options ?? {});
      const { world, lm, lmHash } = await context.shared("zoo", loadZoo);
      const answerer = await createAnswerer(context.engine, lm, world);
      const config: RagConfig = parseConfig(rag, { passages: PASSAGES }, "plain");
      const points: NoisePoint[] = [];
      let bytes = 0;
      try {
        for (const count of people) {
          const rng = context.rng.split(`people/${count}`);
          const asked = new Set(rng.sample(world.strangers, count));
          const facts = world.strangerFacts.filter((fact) => asked.has(fact.subject));
          const prompts = askAbout(world, facts, Math.min(questions, facts.length), rng.split("questions"));
          const qrels = Object.fromEntries(prompts.map((p) => [queryOf(p).id, { [queryOf(p).id]: 1 }]));
          for (const share of shares) {
            const own = rng.split(`share/${share}`);
            const noise = kinds[kind].noise(world, facts, share / (1 - share), own);
            const passages = own.shuffle([...facts.map((fact) => passageOf(world, fact)), ...noise]);
            const collection = { passages, queries: prompts.map(queryOf), encoder: wordVectors(lm, world), analyzer: "words" } as const;
            const found = await findPassages(`${kind}-noise`, cell, collection, context);
            bytes = Math.max(bytes, found.bytes);
            const read = await fromRun(found.run, passages)(collection.queries, PASSAGES);
            const answers = await answerer.answer(prompts.map((p, i) => fillPrompt(config.template, config.separator, read[i]!, p.prompt)));
            const of = (name: string): number => measure(found.run, qrels, name, { queries: "judged" }).mean;
            points.push({ count, share, ...halves(answers, prompts), recall: of(`recall@${PASSAGES}`), ndcg: of("ndcg@10") });
            context.progress({ phase: "noise", done: points.length, total: people.length * shares.length, unit: "databases" });
          }
        }
      } finally {
        await answerer.dispose();
      }
      return { ...outcomeOf(points, people, kind), bytes, dataUsed: world.strangerFacts.length, modelHash: lmHash };
    },
  };
}

interface NoisePoint {
  readonly count: number;
  readonly share: number;
  readonly accuracy: number;
  /** Accuracy on the questions that the monitor sees, and on the others. */
  readonly seen: number;
  readonly unseen: number;
  readonly recall: number;
  readonly ndcg: number;
}

function halves(answers: readonly string[], prompts: readonly Prompt[]): Pick<NoisePoint, "accuracy" | "seen" | "unseen"> {
  const of = (half: (i: number) => boolean): number =>
    shareRight(
      answers.filter((_, i) => half(i)),
      prompts.filter((_, i) => half(i)),
    );
  return { accuracy: shareRight(answers, prompts), seen: of((i) => i % 2 === 0), unseen: of((i) => i % 2 === 1) };
}

function outcomeOf(
  points: readonly NoisePoint[],
  people: readonly number[],
  kind: keyof typeof kinds,
): Omit<CellOutcome, "bytes" | "dataUsed" | "modelHash"> {
  const mean = (values: readonly number[]): number => values.reduce((a, b) => a + b, 0) / values.length;
  const largest = points.filter((p) => p.count === people.at(-1));
  const [clean, noisy] = [largest[0]!, largest.at(-1)!];
  const monitor = noiseMonitor(
    largest.map((p) => [p.share, p.seen] as const),
    THRESHOLD,
    kind,
  );
  const lost = clean.unseen - noisy.unseen;
  const [recalls, accuracies] = [points.map((p) => p.recall), points.map((p) => p.accuracy)];
  const curves = Object.fromEntries(
    people.flatMap((count) => {
      const own = points.filter((p) => p.count === count);
      const curve = (y: (p: NoisePoint) => number): [number, number][] => own.map((p) => [p.share, y(p)]);
      return [
        [`accuracy by share of noise: ${8 * count} facts`, curve((p) => p.accuracy)],
        [`recall by share of noise: ${8 * count} facts`, curve((p) => p.recall)],
      ];
    }),
  );
  const correlation = (value: number, note: string) => ({ value, unit: "r", higherIsBetter: true, note });
  return {
    metrics: {
      accuracy: fraction(mean(accuracies), "exactly the right word, mean over sizes and shares of noise"),
      accuracyClean: fraction(clean.accuracy, "in the largest database without noise"),
      accuracyNoisy: fraction(noisy.accuracy, "in the largest database with the most noise"),
      [`recall@${PASSAGES}`]: fraction(mean(recalls), "questions whose passage is found, mean over sizes and shares of noise"),
      "ndcg@10": fraction(mean(points.map((p) => p.ndcg)), "gain by rank, mean over sizes and shares of noise"),
      correlation: correlation(pearson(recalls, accuracies), `of recall@${PASSAGES} and accuracy over sizes and shares (Pearson)`),
      lost: {
        value: lost,
        unit: "fraction",
        higherIsBetter: false,
        note: "accuracy that the most noise costs, on questions that the monitor does not see",
      },
      warned: { value: monitor.warning ? 1 : 0, unit: "fraction", higherIsBetter: false, note: "whether the noise monitor warns" },
      rightlyWarned: fraction(
        monitor.warning === lost > THRESHOLD ? 1 : 0,
        `whether it warns where noise costs more than ${THRESHOLD}, and only there`,
      ),
    },
    retention: null,
    trainableParams: 0,
    queries: 0,
    monitors: [monitor],
    curves,
  };
}

/** 0 where one of them does not change. */
function pearson(x: readonly number[], y: readonly number[]): number {
  const mean = (v: readonly number[]): number => v.reduce((a, b) => a + b, 0) / v.length;
  const [mx, my] = [mean(x), mean(y)];
  const covariance = x.reduce((sum, value, i) => sum + (value - mx) * (y[i]! - my), 0);
  const deviation = Math.sqrt(x.reduce((sum, v) => sum + (v - mx) ** 2, 0) * y.reduce((sum, v) => sum + (v - my) ** 2, 0));
  return deviation === 0 ? 0 : covariance / deviation;
}

export const irrelevantNoise = noiseScenario("irrelevant");
export const contradictingNoise = noiseScenario("contradicting");
