import {
  type BlackBox,
  type CompiledModel,
  type CompileOptions,
  compileModel,
  type Engine,
  f32,
  type HostTensor,
  LfmError,
  type Model,
  type Offer,
  type Spec,
  sym,
  type Tensor,
} from "@lfm/core";
import { logProbabilities } from "./generation/log-probabilities.js";
import { largest } from "./generation/sampling.js";
import { createPredictor } from "./predictor.js";

/** Token sequences for a model that reads tokens, f32[batch, …item] for one that reads pixels or features. */
export type BlackBoxInput = readonly (readonly number[])[] | HostTensor;

export interface BlackBoxOptions extends CompileOptions {
  /** Examples that may be asked about in all. */
  readonly budget: number;
  /** Default "logits". */
  readonly offers?: Offer;
}

/** A black box that gives its session back. */
export interface OwnedBlackBox extends BlackBox<BlackBoxInput> {
  dispose(): Promise<void>;
}

/**
 * A model as its owner would serve it: answers, metered, and nothing else; neither parameters nor activations can be reached from what is
 * returned. A language model answers with the token after each sequence.
 * @throws {LfmError} CONFIG_INVALID for a budget that is no count, CAPABILITY_MISSING for a model that gives no logits
 */
export async function createBlackBox(engine: Engine, model: Model, options: BlackBoxOptions): Promise<OwnedBlackBox> {
  requireBudget(options);
  const answers = await (model.info.input === "tokens" ? ofSequences : ofItems)(engine, model, options);
  return metered(answers, (input) => ("shape" in input ? input.shape[0]! : input.length), options);
}

/** @throws {LfmError} CONFIG_INVALID for a budget that is no count */
export function requireBudget({ budget }: Pick<BlackBoxOptions, "budget">): void {
  if (!Number.isInteger(budget) || budget < 0)
    throw new LfmError("CONFIG_INVALID", `[@lfm/models] black box: a budget of ${budget} is no count of queries`);
}

/** Answers behind a meter. @param count examples of an input */
export function metered<Input>(
  { logits, dispose }: Answers<Input>,
  count: (input: Input) => number,
  { budget, offers = "logits" }: BlackBoxOptions,
): BlackBox<Input> & { dispose(): Promise<void> } {
  let queries = 0;
  return Object.freeze({
    get queries() {
      return queries;
    },
    budget,
    offers,
    predict: async (input: Input) => {
      const asked = count(input);
      if (queries + asked > budget)
        throw new LfmError(
          "BUDGET_EXCEEDED",
          `[@lfm/models] black box: ${asked} more queries after ${queries} are more than the budget of ${budget}`,
          {
            details: { queries, budget, asked },
          },
        );
      // Taken before the work, so that calls side by side cannot spend the same query; what was not answered is given back.
      queries += asked;
      try {
        return told(await logits(input), offers);
      } catch (error) {
        queries -= asked;
        throw error;
      }
    },
    dispose,
  });
}

/** What stands behind a meter. */
export interface Answers<Input> {
  /** f32[batch, classes] */
  logits(input: Input): Promise<HostTensor>;
  dispose(): Promise<void>;
}

async function ofSequences(engine: Engine, model: Model, options: CompileOptions): Promise<Answers<BlackBoxInput>> {
  const predictor = await createPredictor(engine, model, model.info.task === "causal-lm" ? "next" : "logits", options);
  return {
    logits: async (input) => {
      if ("shape" in input) throw new LfmError("SHAPE_MISMATCH", "[@lfm/models] black box: this model reads token sequences");
      const rows = await predictor.predict(input);
      const width = rows[0]?.data.length ?? model.info.classes ?? model.info.vocabSize ?? 0;
      const data = new Float32Array(rows.length * width);
      for (const [i, row] of rows.entries()) data.set(row.data as Float32Array, i * width);
      return f32(data, [rows.length, width]);
    },
    dispose: predictor.dispose,
  };
}

/** Compiled at the first call, which shows what an item looks like. */
async function ofItems(engine: Engine, model: Model, options: CompileOptions): Promise<Answers<BlackBoxInput>> {
  let opened: Promise<CompiledModel<{ readonly x: Spec }, { readonly logits: Tensor }>> | undefined;
  const open = (item: readonly number[]): NonNullable<typeof opened> =>
    compileModel(
      engine,
      model,
      { x: { dtype: "f32", shape: [sym("batch"), ...item] } },
      ({ x }, params, at) => {
        const { logits } = at.forward(params, { [at.info.input]: x }, { mode: "eval" });
        if (!logits) throw new LfmError("CAPABILITY_MISSING", `[@lfm/models] black box: ${at.info.architecture} gives no logits`);
        return { logits };
      },
      options,
    );
  return {
    logits: async (x) => {
      if (!("shape" in x)) throw new LfmError("SHAPE_MISMATCH", `[@lfm/models] black box: this model reads ${model.info.input}`);
      opened ??= open(x.shape.slice(1));
      try {
        return (await (await opened)({ x })).logits;
      } catch (error) {
        // What could not be compiled, is tried again with the next input.
        await opened.catch(() => {
          opened = undefined;
        });
        throw error;
      }
    },
    dispose: async () => {
      await (await opened)?.dispose();
    },
  };
}

function told(logits: HostTensor, offers: Offer): HostTensor {
  if (offers === "logits") return logits;
  const [rows, classes] = [logits.shape[0]!, logits.shape[1]!];
  const out = new Float32Array(rows * classes);
  for (let i = 0; i < rows; i++) {
    const row = (logits.data as Float32Array).subarray(i * classes, (i + 1) * classes);
    if (offers === "labels") out[i * classes + largest(row)] = 1;
    else out.set(logProbabilities(row).map(Math.exp), i * classes);
  }
  return f32(out, [rows, classes]);
}
