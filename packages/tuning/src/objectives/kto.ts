/**
 * Kahneman–Tversky optimisation (arXiv 2402.01306, equations 7 and 8): completions that are judged one by one. With r = log π − log π₀ the loss of a
 * desirable one is w_d·(1 − σ(β·(r − z))), that of an undesirable one w_u·(1 − σ(β·(z − r))). z is the KL between model and base, estimated in each
 * micro-batch over mismatched pairs of prompts and completions, never below 0, and no gradient goes through it.
 */
import {
  dimScalar,
  expandDims,
  f32,
  greater,
  LfmError,
  maximum,
  mean,
  mul,
  neg,
  sigmoid,
  stopGradient,
  sub,
  sum,
  sym,
  type Tensor,
  where,
} from "@lfm/core";
import {
  completionBatch,
  completionLogProbs,
  completionSpec,
  defineTask,
  scoredCompletions,
  scoredHead,
  scoredLogProbs,
  type TaskForward,
} from "@lfm/train";
import { z } from "zod";
import { type CompletionRow, crossed, judgedRows } from "../examples/preference-rows.js";
import { defineObjective } from "./define-objective.js";
import { completionsOf } from "./paired.js";

const config = z.strictObject({
  beta: z.number().positive().default(0.1).describe("β: how strongly the model is held to the base"),
  desirableWeight: z.number().min(0).default(1).describe("weight w_d of desirable completions"),
  undesirableWeight: z
    .number()
    .min(0)
    .default(1)
    .describe("weight w_u of undesirable completions; w_d·n_d/(w_u·n_u) between 1 and 4/3 is what the paper advises"),
});
export type KtoConfig = z.output<typeof config>;

/**
 * The loss of each completion, f32[completions].
 * @param ratios f32[completions]: log π − log π₀ of each
 * @param mismatched f32[any]: the same of completions behind prompts that are not theirs
 * @param desirable f32[completions]: 1 or 0
 */
export function ktoLoss(
  ratios: Tensor,
  mismatched: Tensor,
  desirable: Tensor,
  { beta, desirableWeight, undesirableWeight }: KtoConfig,
): { readonly losses: Tensor; readonly kl: Tensor } {
  const kl = stopGradient(maximum(mean(mismatched), 0));
  const above = mul(sub(ratios, kl), beta);
  const isDesirable = greater(desirable, 0.5);
  // 1 − σ(x) = σ(−x)
  const losses = where(isDesirable, mul(sigmoid(neg(above)), desirableWeight), mul(sigmoid(above), undesirableWeight));
  return { losses, kl };
}

export const kto = defineObjective({
  id: "kto",
  summary: "Makes desirable completions more likely and undesirable ones less, each by itself, as measured against the base.",
  paper: { title: "KTO: Model Alignment as Prospect Theoretic Optimization", arxiv: "2402.01306", year: 2024 },
  config,
  examples: "judged",
  learner: "language",
  rows: (preferences, rules, maxLength, say) => judgedRows(preferences, rules, { maxLength }, say),
  task: (c) =>
    defineTask({
      name: "kto",
      batch: {
        ...completionSpec(["own"]),
        ...completionSpec(["crossed"], { prefix: "mismatched_", count: "completions" }),
        desirable: { dtype: "f32", shape: [sym("completions")] },
      },
      input: (b) => ({ tokens: b.tokens! }),
      hooks: (b) => [scoredHead(b.scored!, b.tokens!)],
      scored: (out, b) => scoredCompletions(out, b, sum(mul(b.own!, expandDims(b.desirable!, -1)), 0)),
      loss: (forward, batch) => {
        const ratios = logRatios(forward, { tokens: batch.tokens!, scored: batch.scored! }, batch.own!);
        const other = { tokens: batch.mismatched_tokens!, scored: batch.mismatched_scored! };
        const { losses, kl } = ktoLoss(ratios, logRatios(forward, other, batch.mismatched_crossed!), batch.desirable!, c);
        return { loss: mean(losses), weight: dimScalar(ratios.dim(0)), metrics: { kl } };
      },
    }),
  batch: (rows, picked) => {
    const own = picked.map((i) => rows[i]!);
    const mismatched = own.map((row, i) => crossed(row, rows[otherThan(i, picked, rows.length)]!));
    const ids = (of: readonly CompletionRow[]): (readonly number[])[] => of.map((r) => r.ids);
    return {
      ...completionBatch(ids(own), { own: completionsOf(own, 0) }),
      ...completionBatch(ids(mismatched), { crossed: completionsOf(mismatched, 0) }, { prefix: "mismatched_" }),
      desirable: f32(own.map((r) => (r.desirable ? 1 : 0))),
    };
  },
});

/** log π − log π₀ of completions. */
function logRatios(forward: TaskForward, rows: { readonly tokens: Tensor; readonly scored: Tensor }, members: Tensor): Tensor {
  const of = (model: TaskForward | TaskForward["base"]): Tensor => completionLogProbs(scoredLogProbs(model, rows), members);
  return sub(of(forward), of(forward.base));
}

/**
 * The row whose completion stands behind the prompt of row i of a batch: the one before it, so that a batch's mismatched completions are its own
 * ones in another order. A batch of one row takes that of another one.
 */
function otherThan(i: number, picked: readonly number[], count: number): number {
  if (picked.length > 1) return picked[(i + picked.length - 1) % picked.length]!;
  if (count > 1) return (picked[0]! + 1) % count;
  throw new LfmError("CONFIG_INVALID", "[@lfm/tuning] kto estimates its KL over mismatched pairs: one row has none", {
    hint: "give several rows",
  });
}
