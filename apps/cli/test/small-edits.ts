import { type Delta, type Engine, f32, i32, type MethodContext, type Model, needs, Rng, runMethod } from "@lfm/core";
import { type EditingOutput, type EditRequest, type editingMethods, trainMend } from "@lfm/editing";
import { wordTokenizer } from "@lfm/formats";
import { initWeights, llama, textRules } from "@lfm/models";
import { tokenCorpus } from "@lfm/statistics";

const sizes = { hidden_size: 8, intermediate_size: 12, num_hidden_layers: 2, num_attention_heads: 2, max_position_embeddings: 32 };
const planned = llama({ ...sizes, vocab_size: 23 });
/** Two blocks and 23 tokens, never trained. */
export const smallModel: Model = { ...planned, params: initWeights(planned.info, { seed: 3, embeddingStd: 0.5 }) };

/** What is asked of the small model: the prompts that two edits are of, and another one. */
export const smallPrompts = [
  [1, 4, 6, 7],
  [1, 5, 6, 7],
  [1, 9, 3],
] as const;

function request(prompt: readonly number[], target: number): EditRequest {
  return { prompt, subjectEnd: 1, target: [target], start: 1 };
}

/** A word for each token: its number. */
const numbers = {
  encode: (words: string) => words.split(" ").filter(Boolean).map(Number),
  decode: (tokens: Iterable<number>) => [...tokens].join(" "),
};
const text = textRules(wordTokenizer({ size: 23, pad: 0, bos: 1, eos: 0, unk: 22, ...numbers }));
const drawn = Array.from({ length: 60 }, (_, i) => (i * 7) % 23);
const corpus = tokenCorpus("corpus", { tokens: i32(drawn, [10, 6]), mask: f32(new Float32Array(60).fill(1), [10, 6]) });
const cases = [2, 3, 4, 5].map((n) => ({
  subject: `subject ${n}`,
  relation: `relation ${n}`,
  request: request([1, n, 6, 7], n + 9),
  paraphrases: [{ prompt: [1, n, 8], target: [n + 9] }],
  unrelated: [[1, n + 10, 6]],
}));

/** Options that tell on a model this small. */
const configs: Readonly<Record<string, object>> = {
  memit: { lambda: 1 },
  pmet: { lambda: 1 },
  alphaedit: { nullShare: 0.2 },
  ike: { before: "", between: " ", after: " " },
};

/** Two edits of the small model in turn, by a method with few steps: of the first two of {@link smallPrompts}. */
export async function twoEdits(engine: Engine, method: (typeof editingMethods)[number]): Promise<readonly [EditingOutput, EditingOutput]> {
  const context: MethodContext = { engine, rng: new Rng(1), access: needs, log: () => {}, progress: () => {} };
  const { editor } =
    method.id === "mend"
      ? await runMethod(trainMend, { model: smallModel, cases }, { steps: 1, rank: 2, blocks: 1 }, context)
      : { editor: undefined };
  const common = { model: smallModel, corpus, text, prefixes: [[4, 4]], ...(editor ? { editor } : {}) };
  const config = { ...("steps" in method.config.shape ? { steps: 2 } : {}), ...configs[method.id] };
  const edit = (requests: readonly EditRequest[], previous: readonly Delta[]): Promise<EditingOutput> =>
    runMethod(method, { ...common, requests, previous }, config, context);
  const first = await edit([request(smallPrompts[0], 9)], []);
  return [first, await edit([request(smallPrompts[1], 11)], [first.delta])];
}
