import type { Engine, Model } from "@lfm/core";
import type { Prompt, World } from "@lfm/data";
import { largest } from "../generation/sampling.js";
import { createPredictor } from "../predictor.js";

/** One compiled session that answers prompts of any length with the most probable next word. */
export interface Answerer {
  /** The next word of each prompt (given without `<bos>`), greedy over the whole vocabulary. */
  answer(prompts: readonly string[]): Promise<string[]>;
  /** Answers as another model on the same base: `Predictor.swap`. */
  swap(model: Model): Promise<void>;
  dispose(): Promise<void>;
}

/** @param model a language model over the world's vocabulary, with or without deltas; batch — prompts per run */
export async function createAnswerer(engine: Engine, model: Model, world: World, batch = 64): Promise<Answerer> {
  const predictor = await createPredictor(engine, model, "next", { batchSize: batch });
  return {
    answer: async (prompts) => {
      const rows = prompts.map((p) => [world.vocabulary.bos, ...world.vocabulary.encode(p)]);
      return (await predictor.predict(rows)).map(({ data }) => world.vocabulary.words[largest(data as Float32Array)] ?? "<unk>");
    },
    swap: predictor.swap,
    dispose: predictor.dispose,
  };
}

/** Greedy next words of prompts, by a session of its own. */
export async function answerWords(engine: Engine, model: Model, world: World, prompts: readonly string[]): Promise<string[]> {
  const answerer = await createAnswerer(engine, model, world);
  try {
    return await answerer.answer(prompts);
  } finally {
    await answerer.dispose();
  }
}

/** Share of prompts whose next word is the right one, 0..1. */
export async function answerAccuracy(
  engine: Engine,
  model: Model,
  world: World,
  prompts: readonly Pick<Prompt, "prompt" | "answer">[],
): Promise<number> {
  const words = await answerWords(
    engine,
    model,
    world,
    prompts.map((p) => p.prompt),
  );
  return words.filter((w, i) => w === prompts[i]!.answer).length / prompts.length;
}
