/**
 * A reward model: a classifier with one output, learned from pairs by −log σ(r(chosen) − r(rejected) − margin) (Bradley–Terry; arXiv 2203.02155,
 * equation 1; margins: arXiv 2307.09288, equation 2). Rewards are told up to a constant: `centerRewards` draws their sum to 0 (arXiv 2312.09244).
 */
import { add, concat, f32, full, gather, i32, mean, mul, neg, padRows, reshape, softplus, square, sub, sym, type Tensor } from "@lfm/core";
import { defineTask, tokenInput, tokenSpec } from "@lfm/train";
import { z } from "zod";
import { pairRows } from "../examples/preference-rows.js";
import { defineObjective } from "./define-objective.js";
import { type Paired, pairsOf, rewardMetrics } from "./paired.js";

const config = z.strictObject({
  centerRewards: z.number().min(0).default(0).describe("weight of (r(chosen) + r(rejected))², which keeps rewards around 0"),
});
export type RewardConfig = z.output<typeof config>;

/** The loss of each pair, f32[pairs]. @param rewards f32[pairs]; @param margins f32[pairs]: how much better the chosen one is */
export function bradleyTerryLoss({ chosen, rejected }: Paired, margins: Tensor, { centerRewards }: RewardConfig): Tensor {
  const loss = softplus(neg(sub(sub(chosen, rejected), margins)));
  return centerRewards === 0 ? loss : add(loss, mul(square(add(chosen, rejected)), centerRewards));
}

const pairs = { dtype: "i32", shape: [sym("pairs")] } as const;

export const reward = defineObjective({
  id: "reward",
  summary: "Learns a score, by a fresh head with one output, that is larger for chosen completions than for rejected ones.",
  paper: { title: "Training language models to follow instructions with human feedback", arxiv: "2203.02155", year: 2022 },
  config,
  examples: "pairs",
  learner: "score",
  // As TRL: the score of a part says nothing of the whole.
  rows: (preferences, rules, maxLength, say) => pairRows(preferences, rules, { maxLength, whole: true }, say),
  task: (c) =>
    defineTask({
      name: "reward",
      batch: { ...tokenSpec({}), chosen: pairs, rejected: pairs, margins: { ...pairs, dtype: "f32" } },
      input: tokenInput({}),
      // Which of the two was chosen, the first being right: their cross entropy is the loss without margins.
      scored: (out, b) => {
        const side = (rows: Tensor): Tensor => gather(reshape(out.logits!, [-1, 1]), rows);
        return { logits: concat([side(b.chosen!), side(b.rejected!)], 1), targets: full([b.chosen!.dim(0)], 0, "i32") };
      },
      loss: (forward, b) => {
        const scores = reshape(forward({ tokens: b.tokens!, mask: b.mask! }).logits!, [-1]);
        const rewards = { chosen: gather(scores, b.chosen!), rejected: gather(scores, b.rejected!) };
        return {
          loss: mean(bradleyTerryLoss(rewards, b.margins!, c)),
          weight: pairsOf(rewards),
          metrics: rewardMetrics(rewards),
        };
      },
    }),
  batch: (rows, picked) => {
    const some = picked.map((i) => rows[i]!);
    const { tokens, mask } = padRows([...some.map((p) => p.chosen.ids), ...some.map((p) => p.rejected.ids)]);
    return {
      tokens,
      mask,
      chosen: i32(some.map((_, i) => i)),
      rejected: i32(some.map((_, i) => some.length + i)),
      margins: f32(some.map((p) => p.margin)),
    };
  },
});
