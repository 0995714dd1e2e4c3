import { cast, dimScalar, greater, mean, sub, sum, type Tensor } from "@lfm/core";
import {
  type Batch,
  type Completion,
  completionBatch,
  completionLogProbs,
  completionSpec,
  defineTask,
  scoredCompletions,
  scoredHead,
  scoredLogProbs,
  type TaskForward,
  type TaskShape,
} from "@lfm/train";
import type { CompletionRow, PairRow } from "../examples/preference-rows.js";

/** A chosen and a rejected completion of each prompt, side by side: f32[pairs] each. */
export interface Paired {
  readonly chosen: Tensor;
  readonly rejected: Tensor;
}

/** Types of what {@link pairedBatch} makes. */
const pairedSpec = completionSpec(["chosen", "rejected"], { count: "pairs" });

/** A task of pairs; what is right at a position is what was chosen. */
export function pairedTask(name: string, loss: TaskShape["loss"]): TaskShape {
  return defineTask({
    name,
    batch: pairedSpec,
    input: (b) => ({ tokens: b.tokens! }),
    hooks: (b) => [scoredHead(b.scored!, b.tokens!)],
    scored: (out, b) => scoredCompletions(out, b, sum(b.chosen!, 0)),
    loss,
  });
}

/** Rows of two: the chosen ones first, then the rejected ones. */
export function pairedBatch(rows: readonly PairRow[], picked: readonly number[]): Batch {
  const pairs = picked.map((i) => rows[i]!);
  const [chosen, rejected] = [pairs.map((p) => p.chosen), pairs.map((p) => p.rejected)];
  return completionBatch(
    [...chosen, ...rejected].map((r) => r.ids),
    { chosen: completionsOf(chosen, 0), rejected: completionsOf(rejected, chosen.length) },
  );
}

/** @param first number of the row that the first of them stands in */
export function completionsOf(rows: readonly CompletionRow[], first: number): Completion[] {
  return rows.map(({ weights }, i) => ({ row: first + i, weights }));
}

/** log π of the completions. @param forward the model, or its base */
export function pairedLogProbs(forward: TaskForward | TaskForward["base"], batch: Batch<Tensor>): Paired {
  const { tokens, scored, chosen, rejected } = batch;
  const each = scoredLogProbs(forward, { tokens: tokens!, scored: scored! });
  return { chosen: completionLogProbs(each, chosen!), rejected: completionLogProbs(each, rejected!) };
}

/** Tokens of the completions that count. */
export function pairedLengths({ chosen, rejected }: Batch<Tensor>): Paired {
  return { chosen: sum(chosen!, 1), rejected: sum(rejected!, 1) };
}

/** What is watched of rewards f32[pairs]: their mean difference, and how often the chosen one has the larger. */
export function rewardMetrics({ chosen, rejected }: Paired): { readonly margin: Tensor; readonly accuracy: Tensor } {
  return { margin: mean(sub(chosen, rejected)), accuracy: mean(cast(greater(chosen, rejected), "f32")) };
}

/** Pairs count alike, however they are split into micro-batches. f32[] */
export function pairsOf({ chosen }: Pick<Paired, "chosen">): Tensor {
  return dimScalar(chosen.dim(0));
}
