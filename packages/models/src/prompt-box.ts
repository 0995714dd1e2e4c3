import {
  type BlackBox,
  type CompiledModel,
  compileModel,
  type Engine,
  f32,
  type HostTensor,
  inputKind,
  LfmError,
  loadWeight,
  type Model,
  padRows,
  type Spec,
  squeeze,
  sym,
  type Tensor,
  widenToF32,
} from "@lfm/core";
import { batchesByLength } from "./batching.js";
import { type Answers, type BlackBoxOptions, metered, requireBudget } from "./black-box.js";
import { lastToken } from "./predictor.js";
import { softPrompt } from "./soft-prompts.js";

/** Sequences behind a prompt of vectors, the same for all of them. */
export interface PromptedInput {
  readonly sequences: readonly (readonly number[])[];
  /** f32[v, width]; every call has the same v. */
  readonly prompt: HostTensor;
}

/** A model behind an API that takes a prompt of vectors and gives scores: those of the token after each sequence, or of its classes. */
export interface PromptBox extends BlackBox<PromptedInput> {
  /** Width of a vector. */
  readonly width: number;
  /** Tokens that there are vectors of. */
  readonly vocabulary: number;
  /** Standard deviation of the values of all tokens' vectors: the scale that prompts live on. */
  readonly spread: number;
  /** Vectors of tokens, f32[n, width]: what a prompt can begin with. They are no queries. @throws {LfmError} SHAPE_MISMATCH */
  vectors(tokens: readonly number[]): HostTensor;
  dispose(): Promise<void>;
}

/** A model behind such an API. */
export const promptBoxInput = inputKind<PromptBox>("prompt-box");

/** Sequences of one pass. */
const ROWS = 32;

/**
 * A model as an owner would serve it to those who tune prompts without its weights.
 * @throws {LfmError} CAPABILITY_MISSING for a model that reads no tokens or gives no scores, CONFIG_INVALID for a budget that is no count
 */
export async function createPromptBox(engine: Engine, model: Model, options: BlackBoxOptions): Promise<PromptBox> {
  requireBudget(options);
  const { info } = model;
  const table = info.sites.find((s) => s.kind === "embedding" && s.weight)?.weight;
  if (info.input !== "tokens" || !table)
    throw new LfmError("CAPABILITY_MISSING", `[@lfm/models] prompt box: ${info.architecture} reads no tokens`);
  const box = metered(ofPrompts(engine, model, options), ({ sequences }) => sequences.length, options);
  const rows = widenToF32(loadWeight(model.params[table.name]!)).data as Float32Array;
  const [vocabulary, width] = [table.in, info.hiddenSize];
  return Object.freeze({
    get queries() {
      return box.queries;
    },
    budget: box.budget,
    offers: box.offers,
    predict: box.predict,
    dispose: box.dispose,
    width,
    vocabulary,
    spread: deviation(rows),
    vectors: (tokens: readonly number[]) => {
      const outside = tokens.find((id) => !(Number.isInteger(id) && id >= 0 && id < vocabulary));
      if (outside !== undefined) throw new LfmError("SHAPE_MISMATCH", `[@lfm/models] prompt box: there is no token ${outside}`);
      return f32(
        tokens.flatMap((id) => Array.from(rows.subarray(id * width, (id + 1) * width))),
        [tokens.length, width],
      );
    },
  });
}

type Compiled = CompiledModel<{ readonly tokens: Spec; readonly mask: Spec; readonly prompt: Spec }, { readonly scores: Tensor }>;

/** Compiled at the first call, which shows how long the prompt is. */
function ofPrompts(engine: Engine, model: Model, options: BlackBoxOptions): Answers<PromptedInput> {
  let opened: Promise<Compiled> | undefined;
  const shape = [sym("batch"), sym("seq")];
  const open = (v: number): Promise<Compiled> =>
    compileModel(
      engine,
      model,
      { tokens: { dtype: "i32", shape }, mask: { dtype: "f32", shape }, prompt: { dtype: "f32", shape: [v, model.info.hiddenSize] } },
      ({ prompt, ...input }, params, at) => {
        const last = at.info.task === "causal-lm" ? [lastToken(input.mask)] : [];
        const { logits } = at.forward(params, input, { mode: "eval", hooks: [softPrompt(prompt), ...last] });
        if (!logits) throw new LfmError("CAPABILITY_MISSING", `[@lfm/models] prompt box: ${at.info.architecture} gives no scores`);
        return { scores: logits.rank === 3 ? squeeze(logits, 1) : logits };
      },
      options,
    );
  return {
    logits: async ({ sequences, prompt }) => {
      const { maxLength = Number.POSITIVE_INFINITY, architecture } = model.info;
      const longest = prompt.shape[0]! + Math.max(0, ...sequences.map((s) => s.length));
      if (longest > maxLength || sequences.some((s) => s.length === 0))
        throw new LfmError(
          "SHAPE_MISMATCH",
          longest > maxLength
            ? `[@lfm/models] prompt box: prompt and sequence have ${longest} places, ${architecture} reads ${maxLength}`
            : "[@lfm/models] prompt box: a sequence is empty",
        );
      opened ??= open(prompt.shape[0]!);
      const run = await opened;
      const found = new Array<ArrayLike<number | bigint>>(sequences.length);
      let width = 0;
      const lengths = sequences.map((s) => s.length);
      for (const items of batchesByLength(lengths, ROWS)) {
        const { scores } = await run({ ...padRows(items.map((i) => sequences[i]!)), prompt });
        width = scores.shape[1]!;
        for (const [b, i] of items.entries()) found[i] = scores.data.slice(b * width, (b + 1) * width);
      }
      const data = new Float32Array(sequences.length * width);
      for (const [i, row] of found.entries()) data.set(row as Float32Array, i * width);
      return f32(data, [sequences.length, width]);
    },
    dispose: async () => {
      await (await opened)?.dispose();
    },
  };
}

function deviation(values: Float32Array): number {
  let [sum, squares] = [0, 0];
  for (const v of values) {
    sum += v;
    squares += v * v;
  }
  const mean = sum / values.length;
  return Math.sqrt(Math.max(0, squares / values.length - mean * mean));
}
