import {
  argMax,
  cast,
  compile,
  type Engine,
  equal,
  expandDims,
  type HostTensor,
  i32,
  iota,
  type Model,
  matmul,
  padRows,
  reshape,
  slice,
  sym,
  type Tensor,
} from "@lfm/core";
import type { Prompt, World } from "@lfm/data";

/** One compiled session that answers prompts of any length with the most probable next word. */
export interface Answerer {
  /** The next word of each prompt (given without `<bos>`), greedy over the whole vocabulary. */
  answer(prompts: readonly string[]): Promise<string[]>;
  dispose(): Promise<void>;
}

/** @param model a language model over the world's vocabulary, with or without deltas; batch — prompts per run */
export async function createAnswerer(engine: Engine, model: Model, world: World, batch = 64): Promise<Answerer> {
  const shape = [sym("batch"), sym("seq")];
  const f = await compile(
    engine,
    { tokens: { dtype: "i32", shape }, last: { dtype: "i32", shape: [sym("batch")] } },
    (i, params) => {
      const tokens = i.tokens as Tensor;
      const out = model.forward(params as never, { tokens }, { mode: "eval" });
      const logits = slice(out.logits!, 1, out.prefix ?? 0, tokens.dim(1));
      // One row of each sequence by a product with its one-hot position: no copy of the whole table of logits.
      const at = cast(equal(expandDims(i.last as Tensor, -1), iota(tokens.dim(1))), "f32");
      const picked = matmul(expandDims(at, 1), logits);
      return { word: argMax(reshape(picked, [tokens.dim(0), world.vocabulary.size])) };
    },
    { frozen: model.params as never },
  );
  return {
    answer: async (prompts) => {
      const words: string[] = [];
      // Prompts of like length together: little padding; answers come back in the order of the questions.
      const rows = prompts
        .map((p, k) => ({ k, ids: [world.vocabulary.bos, ...world.vocabulary.encode(p)] }))
        .sort((a, b) => a.ids.length - b.ids.length);
      for (let at = 0; at < rows.length; at += batch) {
        const part = rows.slice(at, at + batch);
        const { tokens } = padRows(part.map((r) => r.ids));
        const last = Int32Array.from(part, (r) => r.ids.length - 1);
        const { word } = (await f({ tokens, last: i32(last) } as never)) as unknown as {
          word: HostTensor;
        };
        for (const [i, r] of part.entries()) words[r.k] = world.vocabulary.words[word.data[i] as number] ?? "<unk>";
      }
      return words;
    },
    dispose: () => f.dispose(),
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
