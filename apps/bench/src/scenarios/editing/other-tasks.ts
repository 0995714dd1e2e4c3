import { type Delta, type Metric, type Model, runMethod, withDeltas } from "@lfm/core";
import { fullStage, textTasks, zooBatch, zooEvaluation } from "@lfm/data";
import { createAnswerScorer } from "@lfm/editing";
import type { Zoo } from "@lfm/models/zoo";
import { lora } from "@lfm/tuning";
import type { CellContext } from "../../scenario.js";
import { answerTask } from "../zoo/text-answers.js";
import { points } from "./edit-metrics.js";
import { perplexityOf } from "./text-perplexity.js";

/** The classification task, a skill of its own that lies on the model as an adapter: edits are judged by what is left of it too. */
const TASK = "mood";
const [SENTENCES, QUESTIONS, ROWS] = [128, 96, 16];
/** As in suite quick, where it was chosen on validation sentences of seed 11. */
const ADAPTER = { r: 4, steps: 60, lr: 0.003, schedule: "linear", warmup: 6, clipNorm: 1 } as const;
const BATCH = 16;

/** What a model can do that no fact is asked of. */
export interface OtherScores {
  /** Share of right answers of an adapter that was trained on the model before any edit. */
  readonly adapter: number;
  /** Share of right answers that stand in passages before the question. */
  readonly reading: number;
  /** Per word, on rows like those of training. */
  readonly perplexity: number;
}

export interface OtherTasks {
  measure(model: Model, signal?: AbortSignal): Promise<OtherScores>;
  dispose(): Promise<void>;
}

/** @param seed of sentences and adapter */
export async function openOtherTasks(zoo: Zoo, seed: number, context: CellContext): Promise<OtherTasks> {
  const { engine } = context;
  const { world, lm, lmHash } = zoo;
  const { bos, encode, id, pad } = world.vocabulary;
  const task = textTasks(world, { seed }).find((t) => t.id === TASK)!;
  const adapter = await context.shared(`editing adapter ${seed}`, async (): Promise<Delta> => {
    const own = { ...context, access: lora.needs, progress: () => {} };
    return (await runMethod(lora, { model: lm, task: answerTask(world, task, BATCH, seed), parent: lmHash }, ADAPTER, own)).delta;
  });
  const sentences = task.test.slice(0, SENTENCES);
  const labelled = sentences.flatMap((item) => task.labels.map((label) => ({ prompt: item.prompt, answer: [label] })));
  const questions = zooEvaluation(world, { seed, perSet: QUESTIONS }).reading;
  const asked = questions.map(({ prompt, answer }) => ({ prompt: [bos, ...encode(prompt)], answer: [id(answer)] }));
  const { tokens, length } = zooBatch(world, { seed, step: 0, stage: fullStage(world), rows: ROWS });
  const texts = Array.from({ length: ROWS }, (_, r) => {
    const row = Array.from(tokens.slice(r * length, (r + 1) * length)).filter((token) => token !== pad);
    return { prompt: row.slice(0, 1), answer: row.slice(1) };
  });
  const [plain, adapted] = [await createAnswerScorer(engine, lm), await createAnswerScorer(engine, withDeltas(lm, [adapter]))];
  return {
    measure: async (model, signal) => {
      await plain.swap(model);
      await adapted.swap(withDeltas(model, [adapter]));
      const odds = (await adapted.score(labelled, signal)).map(({ logProbs }) => logProbs[0]!);
      const k = task.labels.length;
      const right = sentences.filter((item, i) => odds.slice(i * k, (i + 1) * k).every((p) => p <= odds[i * k + item.label]!));
      const read = (await plain.score(asked, signal)).filter(({ said }, i) => said[0] === asked[i]!.answer[0]);
      return {
        adapter: right.length / SENTENCES,
        reading: read.length / QUESTIONS,
        perplexity: perplexityOf(await plain.score(texts, signal)),
      };
    },
    dispose: async () => {
      await plain.dispose();
      await adapted.dispose();
    },
  };
}

/** Means over the edits after which they were measured. */
export function otherMetrics(after: readonly OtherScores[], before: OtherScores): Record<string, Metric> {
  const mean = (key: keyof OtherScores): number => after.reduce((sum, s) => sum + s[key], 0) / after.length;
  const share = (key: "adapter" | "reading", note: string): Metric => points(100 * mean(key), note, 100 * before[key]);
  return {
    adapterTask: share("adapter", `${SENTENCES} sentences of the task ${TASK}, by an adapter trained before the edits`),
    reading: share("reading", `${QUESTIONS} questions whose answers stand in passages before them`),
    perplexity: {
      value: mean("perplexity"),
      base: before.perplexity,
      unit: "perplexity",
      higherIsBetter: false,
      note: `per word of ${ROWS} rows like those of training`,
    },
  };
}
