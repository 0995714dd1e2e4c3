/**
 * AutoPrompt (arXiv 2010.15980): words in front of the input are exchanged one by one, by HotFlip (arXiv 1712.06751): of the words whose vectors the
 * gradient at a place points to, the one that lowers the loss most takes the place.
 */
import {
  compileModel,
  grad,
  type Hook,
  i32,
  LfmError,
  learnerInput,
  type MethodContext,
  type Model,
  type ModelInput,
  makeDelta,
  type Outputs,
  type ParamTree,
  parentInput,
  scalar,
  type Tensor,
  throwIfAborted,
  withDeltas,
  zeros,
} from "@lfm/core";
import { textRulesInput, tokensInFront } from "@lfm/models";
import { type Batch, type LearningTask, type LossResult, type TaskForward, taskInput, validationInput } from "@lfm/train";
import { z } from "zod";
import { defineDeltaMethod, type TuningInputs, type TuningOutput } from "../define-tuning.js";
import { requireRoom, tokenTable } from "../initial-prompt.js";

/** i32[v] */
const TOKENS = "prompt_tokens";

const config = z.strictObject({
  numTriggerTokens: z.number().int().positive().default(5).describe("words v in front of the input"),
  iterations: z.number().int().positive().default(100).describe("times that a place is chosen and its word may be exchanged"),
  candidates: z.number().int().positive().default(10).describe("words that are tried at a place: those that the gradient points to most"),
  accumulate: z.number().int().positive().default(10).describe("batches of a gradient, and others that candidates are compared on"),
  initVocabulary: z.number().int().positive().default(5000).describe("it begins with random words of so many first rows of the vocabulary"),
  validEvery: z
    .number()
    .int()
    .positive()
    .optional()
    .describe(
      "measure validation examples every so many iterations and keep the best words, not the last: they then take part in the choice",
    ),
});
type Config = z.output<typeof config>;

type AutopromptInputs = Pick<TuningInputs, "model" | "task" | "parent" | "validation" | "text">;

export const autoprompt = defineDeltaMethod<AutopromptInputs, TuningOutput, typeof config>({
  id: "autoprompt",
  paradigm: "tuning",
  summary: "Searches for words in front of the input by gradients: a prompt that can be read.",
  paper: {
    title: "AutoPrompt: Eliciting Knowledge from Language Models with Automatically Generated Prompts",
    arxiv: "2010.15980",
    year: 2020,
    survey: "3.2 input engineering",
  },
  needs: ["weights", "grad"],
  inputs: {
    model: learnerInput,
    task: taskInput,
    parent: parentInput,
    validation: { kind: validationInput, optional: true },
    text: { kind: textRulesInput, optional: true },
  },
  config,
  delta: { hooks: (_c, t) => [tokensInFront(t[TOKENS]!)] },
  run: async ({ model, task, parent, validation, text }, c, context): Promise<TuningOutput> => {
    requireRoom("autoprompt", model, c.numTriggerTokens);
    if ((validation === undefined) !== (c.validEvery === undefined))
      throw new LfmError(
        "CONFIG_INVALID",
        "[@lfm/tuning] autoprompt: validEvery measures validation examples: one is not read without the other",
      );
    const specials = new Set(Object.values(text?.tokenizer.specials ?? {}));
    const table = tokenTable("autoprompt", model);
    const words = Array.from({ length: table.rows }, (_, id) => id).filter((id) => !specials.has(id));
    const rng = context.rng.split("search");
    const start = Array.from({ length: c.numTriggerTokens }, () => words[rng.int(Math.min(words.length, c.initVocabulary))]!);
    const losses = await compileLosses(context, model, task, c.numTriggerTokens);
    const held = validation && (await compileLosses(context, model, validation.task, c.numTriggerTokens));
    const measured = async (tokens: readonly number[]): Promise<number> =>
      held!.mean(tokens, 0, validation!.batches ?? validation!.task.perEpoch ?? 1);
    try {
      let [tokens, batch] = [start, 0];
      const curve: [number, number][] = [];
      let best = held && { tokens, loss: await measured(tokens) };
      for (let step = 0; step < c.iterations; step++) {
        throwIfAborted(context.signal, "[@lfm/tuning] autoprompt");
        const place = rng.int(tokens.length);
        const gradient = await losses.gradient(tokens, batch, c.accumulate);
        batch += c.accumulate;
        let kept = { tokens, loss: await losses.mean(tokens, batch, c.accumulate) };
        for (const word of pointedTo(gradient[place]!, table, words, c.candidates)) {
          const tried = tokens.map((id, i) => (i === place ? word : id));
          const loss = await losses.mean(tried, batch, c.accumulate);
          if (loss < kept.loss) kept = { tokens: tried, loss };
        }
        batch += c.accumulate;
        tokens = kept.tokens;
        curve.push([step, kept.loss]);
        if (best && ((step + 1) % c.validEvery! === 0 || step + 1 === c.iterations)) {
          const loss = await measured(tokens);
          if (loss < best.loss) best = { tokens, loss };
        }
        context.progress({ phase: "search", done: step + 1, total: c.iterations, unit: "exchange", values: { loss: kept.loss } });
      }
      const found = best?.tokens ?? tokens;
      context.log(`words: ${text ? text.tokenizer.decode(found) : found.join(" ")}`);
      const delta = makeDelta<Config>(autoprompt, c, { [TOKENS]: i32(found) }, { parent: parent ?? null });
      return { delta, model: withDeltas(model, [delta]), curves: { loss: curve } };
    } finally {
      await losses.dispose();
      await held?.dispose();
    }
  },
});

/** Words by −e·g, the decrease of the loss that a step from the place's vector to theirs promises to first order; the largest first. */
export function pointedTo(
  gradient: Float64Array,
  table: Pick<ReturnType<typeof tokenTable>, "row">,
  words: readonly number[],
  count: number,
): readonly number[] {
  const gain = words.map((id) => ({ id, gain: -table.row(id).reduce((sum, x, i) => sum + x * gradient[i]!, 0) }));
  return gain
    .sort((a, b) => b.gain - a.gain || a.id - b.id)
    .slice(0, count)
    .map(({ id }) => id);
}

/** Losses of a task behind words, over batches. */
interface Losses {
  /** Of the sum over batches by what each word is embedded as, f64[hidden] each. */
  gradient(tokens: readonly number[], from: number, count: number): Promise<readonly Float64Array[]>;
  /** Mean over batches, each by its weight. */
  mean(tokens: readonly number[], from: number, count: number): Promise<number>;
  dispose(): Promise<void>;
}

async function compileLosses({ engine }: MethodContext, model: Model, task: LearningTask, v: number): Promise<Losses> {
  const d = model.info.hiddenSize;
  const words = { dtype: "i32", shape: [v] } as const;
  const moved = { dtype: "f32", shape: [v, d] } as const;
  const lossOf = (at: Model, params: ParamTree, batch: Batch<Tensor>, front: Hook): Required<Pick<LossResult, "loss" | "weight">> => {
    const through =
      (own: readonly Hook[]) =>
      (input: ModelInput, more: readonly Hook[] = []): Outputs =>
        at.forward(params, input, { mode: "eval", hooks: [...own, ...more], batch });
    const forward: TaskForward = Object.assign(through([front]), { key: scalar(0, "i32"), step: scalar(1), base: through([]) });
    const { loss, weight = scalar(1) } = task.loss(forward, batch);
    return { loss, weight };
  };
  const plain = await compileModel(engine, model, { words, batch: task.batch }, (i, params, at) =>
    lossOf(at, params, i.batch, tokensInFront(i.words)),
  );
  const derived = await compileModel(engine, model, { words, moved, batch: task.batch }, (i, params, at) => {
    const { loss, weight } = lossOf(at, params, i.batch, tokensInFront(i.words, i.moved));
    return { gradient: grad(loss, i.moved), weight };
  });
  return {
    gradient: async (tokens, from, count) => {
      const sum = Array.from({ length: v }, () => new Float64Array(d));
      for (let n = from; n < from + count; n++) {
        const { gradient, weight } = await derived({ words: i32(tokens), moved: zeros([v, d]), batch: task.batches(n) });
        const share = Number(weight.data[0]);
        for (let i = 0; i < v * d; i++) sum[Math.floor(i / d)]![i % d]! += share * Number(gradient.data[i]);
      }
      return sum;
    },
    mean: async (tokens, from, count) => {
      let [sum, total] = [0, 0];
      for (let n = from; n < from + count; n++) {
        const { loss, weight } = await plain({ words: i32(tokens), batch: task.batches(n) });
        sum += Number(weight.data[0]) * Number(loss.data[0]);
        total += Number(weight.data[0]);
      }
      return total === 0 ? 0 : sum / total;
    },
    dispose: async () => {
      await plain.dispose();
      await derived.dispose();
    },
  };
}
