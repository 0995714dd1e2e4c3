import { type CellOutcome, checkProvided, provider, Rng } from "@lfm/core";
import type { Hit, Passage, World } from "@lfm/data";
import { createAnswerer, loadZoo } from "@lfm/models/zoo";
import {
  type Bm25Index,
  fillPrompt,
  passagesInput,
  queriesInput,
  type SearchOutput,
  type TextEncoder,
  textEncoderInput,
  type VectorIndex,
} from "@lfm/retrieval";
import { z } from "zod";
import type { CellMethod, Scenario } from "../../scenario.js";
import { runByKind } from "../run-by-kind.js";
import { fraction } from "./search.js";
import { wordVectors } from "./word-vectors.js";
import { askAbout, opinionOf, passageOf, queryOf, shareRight } from "./zoo-questions.js";

const options = z.strictObject({
  sizes: z.array(z.number().int().positive()).min(2).default([100, 300, 1000, 3000, 10_000]).describe("passages, ascending"),
  questions: z.number().int().positive().default(256).describe("questions about people known only from documents"),
  passages: z.number().int().positive().default(8).describe("passages in a prompt"),
});

/** The sweet spot is the smallest database whose accuracy is within this of the best of all sizes. */
const WITHIN = 0.02;
const kinds = ["passages", "queries", "text-encoder"] as const;

/** The survey's third experiment: what a growing database knows, and what it costs to ask it. */
export const ragScale: Scenario = {
  id: "rag-scale",
  paradigm: "retrieval",
  model: "zoo-lm",
  summary: `Knowledge coverage against latency: the same questions about people known only from documents, asked of growing databases. Half of the passages state facts about such people until all are stated, the others are about people that the model knows, or opinions. The sweet spot is the smallest database whose accuracy is within ${100 * WITHIN} points of the best; accuracy is that there.`,
  headline: "accuracy",
  access: ["weights", "activations", "logits", "labels", "tokenizer"],
  options,
  async run(cell, context): Promise<CellOutcome> {
    checkProvided("[@lfm/bench] rag-scale", cell.method, cell.config, kinds);
    const { sizes, questions, passages: k } = options.parse(cell.options ?? {});
    const { world, lm, lmHash } = await context.shared("zoo", loadZoo);
    const all = await context.shared(`retrieval/rag-scale/${Math.max(...sizes)}`, async () => growing(world, Math.max(...sizes)));
    const prompts = askAbout(world, world.strangerFacts, questions, context.rng.split("questions"));
    const byId = new Map(all.map((p) => [p.id, p]));
    const encoder = wordVectors(lm, world);
    const answerer = await createAnswerer(context.engine, lm, world);
    const points: Point[] = [];
    try {
      for (const size of sizes) {
        const database = all.slice(0, size);
        const given = [
          provider(passagesInput, () => database),
          provider(queriesInput, () => []),
          provider(textEncoderInput, () => encoder),
        ];
        const { index } = await runByKind<SearchOutput<Bm25Index | VectorIndex>>("rag-scale", cell, given, context);
        const find = searchOf(index, encoder, cell);
        const [found, times]: [(readonly Hit[])[], number[]] = [[], []];
        for (const { prompt } of prompts) {
          const started = performance.now();
          found.push(await find(prompt, k));
          times.push(performance.now() - started);
        }
        const filled = prompts.map((p, i) =>
          fillPrompt(
            "{passages} {question}",
            " ",
            found[i]!.map((hit) => byId.get(hit.id)!),
            p.prompt,
          ),
        );
        const started = performance.now();
        const answers = await answerer.answer(filled);
        const answerMs = (performance.now() - started) / prompts.length;
        const there = new Set(database.map((p) => p.id));
        const wanted = prompts.map((p) => queryOf(p).id);
        times.sort((a, b) => a - b);
        points.push({
          size,
          accuracy: shareRight(answers, prompts),
          coverage: wanted.filter((id) => there.has(id)).length / prompts.length,
          found: wanted.filter((id, i) => found[i]!.some((hit) => hit.id === id)).length / prompts.length,
          median: times[Math.floor(times.length / 2)]!,
          p95: times[Math.floor(0.95 * times.length)]!,
          answerMs,
          bytes: index.bytes,
        });
        context.progress({ phase: "database", done: points.length, total: sizes.length, unit: "sizes" });
      }
    } finally {
      await answerer.dispose();
    }
    return { ...outcomeOf(points), dataUsed: all.length, modelHash: lmHash };
  },
};

interface Point {
  /** Passages. */
  readonly size: number;
  readonly accuracy: number;
  /** Share of the questions whose answer stands in the database, and of those that it was found for. */
  readonly coverage: number;
  readonly found: number;
  /** Of a search, in ms. */
  readonly median: number;
  readonly p95: number;
  readonly answerMs: number;
  readonly bytes: number;
}

function outcomeOf(points: readonly Point[]): Omit<CellOutcome, "dataUsed" | "modelHash"> {
  const best = Math.max(...points.map((p) => p.accuracy));
  const sweet = points.find((p) => p.accuracy >= best - WITHIN)!;
  const largest = points.at(-1)!;
  const curve = (y: (p: Point) => number): [number, number][] => points.map((p) => [p.size, y(p)]);
  const ms = (value: number, note: string) => ({ value, unit: "ms", higherIsBetter: false, note });
  return {
    metrics: {
      accuracy: fraction(sweet.accuracy, "exactly the right word, at the sweet spot"),
      coverage: fraction(sweet.coverage, "questions whose answer stands in the database, at the sweet spot"),
      sweetSpot: {
        value: sweet.size,
        unit: "passages",
        higherIsBetter: false,
        note: `the smallest within ${100 * WITHIN} points of the best`,
      },
      searchMedian: ms(sweet.median, "median of a search, at the sweet spot"),
      searchP95: ms(sweet.p95, "95 % of searches are faster, at the sweet spot"),
      answer: ms(sweet.answerMs, "an answer from the found passages, at the sweet spot, in batches"),
      accuracyLargest: fraction(largest.accuracy, `with ${largest.size} passages`),
      searchMedianLargest: ms(largest.median, `median of a search among ${largest.size} passages`),
    },
    retention: null,
    trainableParams: 0,
    bytes: largest.bytes,
    queries: 0,
    monitors: [],
    curves: {
      "share of questions by passages: in the database": curve((p) => p.coverage),
      "share of questions by passages: found": curve((p) => p.found),
      "share of questions by passages: answered": curve((p) => p.accuracy),
      "median search in ms by passages": curve((p) => p.median),
    },
  };
}

/** One search after the other: how long a single question takes. */
function searchOf(index: Bm25Index | VectorIndex, encoder: TextEncoder, { config }: CellMethod) {
  const depth = Object.fromEntries(["ef", "probes", "rescore"].flatMap((name) => (name in config ? [[name, config[name]]] : [])));
  return async (text: string, k: number): Promise<readonly Hit[]> =>
    "analyze" in index ? index.search(text, k) : (await index.search(await encoder.encode([text], { role: "query" }), k, depth))[0]!;
}

/** Passages in one order: every second one states a fact about a stranger, until all are stated. A database is their beginning. */
function growing(world: World, size: number): readonly Passage[] {
  const rng = new Rng(world.seed).split("rag-scale");
  const facts = rng.shuffle(world.strangerFacts).map((fact) => passageOf(world, fact));
  const familiar = rng.shuffle(world.facts).map((fact) => passageOf(world, fact));
  const people = rng.shuffle([...world.strangers, ...world.entities]);
  const passages: Passage[] = [];
  let [stated, others] = [0, 0];
  while (passages.length < size) {
    if (stated < facts.length && passages.length % 2 === 0) passages.push(facts[stated++]!);
    else {
      const known = others % 2 === 0 ? familiar[others / 2] : undefined;
      passages.push(known ?? opinionOf(world, people[others % people.length]!, Math.floor(others / people.length), rng));
      others++;
    }
  }
  return passages;
}
