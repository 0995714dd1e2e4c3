/**
 * Greedy soup (arXiv 2203.05482, recipe 1): sort the models by their score on held-out data, start with the best, take each next one in
 * if the average of all that are in then scores no worse. The uniform soup is `average`.
 */
import {
  defineMethod,
  type HostTensor,
  isFloatType,
  LfmError,
  loadWeight,
  makeDelta,
  namedWeightsInput,
  replacedParameters,
  throwIfAborted,
  type Weights,
  widenToF32,
} from "@lfm/core";
import { z } from "zod";
import { scoreInput } from "../input-kinds.js";
import { checkInputs, type MergeOutput } from "../inputs.js";

export interface GreedySoupInputs {
  /** Models to choose from, by name; equal parameter names and shapes. */
  readonly models: Readonly<Record<string, Weights>>;
  /** Score of parameters on held-out data, e.g. accuracy. Higher is better, unless the config says otherwise. */
  evaluate(params: Readonly<Record<string, HostTensor>>): Promise<number> | number;
  /** Hash of the base of the models, recorded in the delta. */
  readonly parent?: string;
}

export interface GreedySoupOutput extends MergeOutput {
  /** Names of the models in the soup, in the order they came in. */
  readonly chosen: readonly string[];
  /** Score of each model alone. */
  readonly alone: Readonly<Record<string, number>>;
  /** Score of the soup. */
  readonly score: number;
}

export const greedySoup = defineMethod({
  id: "greedy-soup",
  paradigm: "reuse",
  summary: "Averages those models that, taken in one by one, do not make the average worse on held-out data.",
  paper: {
    title: "Model soups: averaging weights of multiple fine-tuned models improves accuracy without increasing inference time",
    arxiv: "2203.05482",
    year: 2022,
    survey: "5.1 weight interpolation",
  },
  needs: ["weights"],
  inputs: { models: namedWeightsInput, evaluate: { kind: scoreInput, about: "held-out: their score decides who comes in" } },
  config: z.strictObject({
    lower_is_better: z.boolean().default(false).describe("the score is a loss"),
    tolerance: z.number().min(0).default(0).describe("by how much the score may fall when a model comes in"),
  }),
  delta: replacedParameters,
  run: async ({ models, evaluate, parent }: GreedySoupInputs, c, context): Promise<GreedySoupOutput> => {
    checkInputs({ models }, false);
    const names = Object.keys(models);
    const sign = c.lower_is_better ? -1 : 1;
    const total = 2 * names.length - 1;
    let done = 0;
    const score = async (what: string, params: Readonly<Record<string, HostTensor>>): Promise<number> => {
      throwIfAborted(context.signal, `[@lfm/reuse] greedy soup, ${what}`);
      const found = await evaluate(params);
      if (Number.isNaN(found)) throw new LfmError("NUMERIC_DIVERGED", `[@lfm/reuse] greedy soup: the score of ${what} is not a number`);
      context.progress({ phase: "score", done: ++done, total, unit: "evaluation", values: { score: found } });
      return found;
    };
    const alone: Record<string, number> = {};
    for (const name of names) alone[name] = await score(`"${name}"`, average([models[name]!]));
    // A stable sort: of equal scores the first named comes first.
    const [best, ...others] = names.toSorted((a, b) => sign * (alone[b]! - alone[a]!)) as [string, ...string[]];
    const chosen = [best];
    let soup = average([models[best]!]);
    let held = alone[best]!;
    for (const name of others) {
      const next = average([...chosen, name].map((n) => models[n]!));
      const found = await score(`${chosen.length + 1} models`, next);
      if (sign * (found - held) < -c.tolerance) continue;
      chosen.push(name);
      soup = next;
      held = found;
    }
    return { delta: makeDelta(greedySoup, c, soup, { parent: parent ?? null }), chosen, alone, score: held };
  },
});

/** f32; sums in f64. Integers are the first model's. */
function average(models: readonly Weights[]): Record<string, HostTensor> {
  return Object.fromEntries(
    Object.entries(models[0]!).map(([name, first]) => {
      if (!isFloatType(first.dtype)) return [name, loadWeight(first)];
      const sum = new Float64Array(first.shape.reduce((a, b) => a * b, 1));
      for (const m of models) {
        const values = widenToF32(loadWeight(m[name]!)).data as Float32Array;
        for (let i = 0; i < sum.length; i++) sum[i] = sum[i]! + values[i]!;
      }
      return [name, { dtype: "f32", shape: first.shape, data: Float32Array.from(sum, (v) => v / models.length) }];
    }),
  );
}
