/**
 * Direct preference optimisation (arXiv 2305.18290, equation 7): −log σ(β·(r(chosen) − r(rejected))) with r = log π − log π₀, π₀ the model without
 * what learns. Variants under TRL's names: `robust` (arXiv 2403.00409, equation 13), `hinge` (SLiC, arXiv 2305.10425) and `ipo` (arXiv 2310.12036,
 * equation 17, per token as its authors meant it). Label smoothing of the sigmoid form is conservative DPO: the share of pairs taken for swapped.
 */
import { add, div, LfmError, maximum, mean, mul, neg, relu, softplus, square, sub, type Tensor } from "@lfm/core";
import { z } from "zod";
import { pairRows } from "../examples/preference-rows.js";
import { defineObjective } from "./define-objective.js";
import { type Paired, pairedBatch, pairedLengths, pairedLogProbs, pairedTask, pairsOf, rewardMetrics } from "./paired.js";

const config = z.strictObject({
  beta: z.number().positive().default(0.1).describe("β: how strongly the model is held to the base; of ipo the regularisation τ"),
  lossType: z.enum(["sigmoid", "robust", "hinge", "ipo"]).default("sigmoid").describe("form of the loss"),
  labelSmoothing: z.number().min(0).max(0.5).default(0).describe("share ε of pairs that are taken for swapped; of sigmoid and robust"),
});
export type DpoConfig = z.output<typeof config>;

/**
 * The loss of each pair, f32[pairs].
 * @param ratios log π − log π₀ of the completions
 * @param lengths tokens of the completions
 */
export function dpoLoss(ratios: Paired, lengths: Paired, { beta, lossType, labelSmoothing: smoothing }: DpoConfig): Tensor {
  const scaled = mul(sub(ratios.chosen, ratios.rejected), beta);
  // −log σ(x) = softplus(−x)
  const [right, swapped] = [softplus(neg(scaled)), softplus(scaled)];
  switch (lossType) {
    case "sigmoid":
      return smoothing === 0 ? right : add(mul(right, 1 - smoothing), mul(swapped, smoothing));
    case "robust":
      return mul(sub(mul(right, 1 - smoothing), mul(swapped, smoothing)), 1 / (1 - 2 * smoothing));
    case "hinge":
      return relu(sub(1, scaled));
    case "ipo": {
      const perToken = (side: keyof Paired): Tensor => div(ratios[side], maximum(lengths[side], 1));
      return square(sub(sub(perToken("chosen"), perToken("rejected")), 1 / (2 * beta)));
    }
  }
}

export const dpo = defineObjective({
  id: "dpo",
  summary: "Makes chosen completions more likely than rejected ones, as measured against the base.",
  paper: {
    title: "Direct Preference Optimization: Your Language Model is Secretly a Reward Model",
    arxiv: "2305.18290",
    year: 2023,
  },
  config,
  examples: "pairs",
  learner: "language",
  rows: (preferences, rules, maxLength, say) => pairRows(preferences, rules, { maxLength }, say),
  task: (c) => {
    if (c.labelSmoothing > 0 && (c.lossType === "hinge" || c.lossType === "ipo"))
      throw new LfmError("CONFIG_INVALID", `[@lfm/tuning] dpo: ${c.lossType} has no label smoothing`, {
        hint: "lossType robust (--loss-type robust), or labelSmoothing 0",
      });
    if (c.labelSmoothing === 0.5 && c.lossType === "robust")
      throw new LfmError("CONFIG_INVALID", "[@lfm/tuning] dpo: where every other pair is swapped, robust has nothing to go by", {
        hint: "labelSmoothing below 0.5 (--label-smoothing 0.1)",
      });
    return pairedTask("dpo", (forward, batch) => {
      const [own, base] = [pairedLogProbs(forward, batch), pairedLogProbs(forward.base, batch)];
      const ratios = { chosen: sub(own.chosen, base.chosen), rejected: sub(own.rejected, base.rejected) };
      const rewards = { chosen: mul(ratios.chosen, c.beta), rejected: mul(ratios.rejected, c.beta) };
      return { loss: mean(dpoLoss(ratios, pairedLengths(batch), c)), weight: pairsOf(own), metrics: rewardMetrics(rewards) };
    });
  },
  batch: pairedBatch,
});
