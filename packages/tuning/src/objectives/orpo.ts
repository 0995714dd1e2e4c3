/**
 * Odds ratio preference optimisation (arXiv 2403.07691, equations 6 and 7): likelihood of the chosen rows plus β times −log σ of the log odds ratio,
 * odds(y) = p/(1 − p) with log p the mean over the completion's tokens. It asks no reference. The likelihood is that of prompt and completion, as in
 * TRL's trainer.
 */
import { add, div, log, mean, minimum, mul, neg, softplus, sub, sum, type Tensor, tanh } from "@lfm/core";
import { completionBatch, completionLogProbs, completionSpec, scoredLogProbs, weightedMean } from "@lfm/train";
import { z } from "zod";
import { pairRows } from "../examples/preference-rows.js";
import { defineObjective } from "./define-objective.js";
import { completionsOf, type Paired, pairedLengths, pairedTask, pairsOf, rewardMetrics } from "./paired.js";

const config = z.strictObject({
  beta: z.number().min(0).default(0.1).describe("β (λ in the paper): weight of the odds ratio beside likelihood"),
});
export type OrpoConfig = z.output<typeof config>;

/** Means of certain tokens would have infinite odds. */
const MOST = -1e-7;

/**
 * −log σ(log odds(chosen) − log odds(rejected)) of each pair, f32[pairs].
 * @param logProbs mean log-probability of the completions' tokens, ≤ 0
 */
export function oddsRatioLoss({ chosen, rejected }: Paired): Tensor {
  return softplus(neg(sub(logOdds(chosen), logOdds(rejected))));
}

/** log(p/(1 − p)) of log p. 1 − p by tanh(x/2), which loses nothing where p is near 1: 1 − eˣ = −2t/(1 − t). */
function logOdds(logP: Tensor): Tensor {
  const x = minimum(logP, MOST);
  const t = tanh(mul(x, 0.5));
  const logRest = sub(add(log(neg(t)), Math.LN2), log(sub(1, t)));
  return sub(x, logRest);
}

export const orpo = defineObjective({
  id: "orpo",
  summary: "Learns chosen completions by likelihood and keeps rejected ones unlikely by their odds; no reference takes part.",
  paper: { title: "ORPO: Monolithic Preference Optimization without Reference Model", arxiv: "2403.07691", year: 2024 },
  config,
  examples: "pairs",
  learner: "language",
  rows: (preferences, rules, maxLength, say) => pairRows(preferences, rules, { maxLength }, say),
  task: (c) => ({
    ...pairedTask("orpo", (forward, batch) => {
      const { tokens, scored, chosen, rejected, whole } = batch;
      const each = scoredLogProbs(forward, { tokens: tokens!, scored: scored! });
      const lengths = pairedLengths(batch);
      const means = {
        chosen: div(completionLogProbs(each, chosen!), lengths.chosen),
        rejected: div(completionLogProbs(each, rejected!), lengths.rejected),
      };
      const likelihood = neg(weightedMean(each, sum(whole!, 0)));
      const rewards = { chosen: mul(means.chosen, c.beta), rejected: mul(means.rejected, c.beta) };
      return {
        loss: add(likelihood, mul(mean(oddsRatioLoss(means)), c.beta)),
        weight: pairsOf(means),
        metrics: { likelihood, ...rewardMetrics(rewards) },
      };
    }),
    batch: completionSpec(["chosen", "rejected", "whole"], { count: "pairs" }),
  }),
  batch: (rows, picked) => {
    const pairs = picked.map((i) => rows[i]!);
    const [chosen, rejected] = [pairs.map((p) => p.chosen), pairs.map((p) => p.rejected)];
    return completionBatch(
      [...chosen, ...rejected].map((r) => r.ids),
      {
        chosen: completionsOf(chosen, 0),
        rejected: completionsOf(rejected, chosen.length),
        whole: chosen.map((r, row) => ({ row, weights: r.ids.map(() => 1) })),
      },
    );
  },
});
