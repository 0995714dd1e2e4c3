import {
  add,
  crossEntropyPerItem,
  f32,
  gather,
  type Hook,
  i32,
  type ModelInput,
  matmul,
  neg,
  type Outputs,
  padRows,
  reshape,
  slice,
  sym,
  type Tensor,
} from "@lfm/core";
import { scoredHead } from "./scored-positions.js";
import type { Scored } from "./task.js";
import type { Batch, BatchSpec } from "./training.js";

/**
 * Log-probabilities of whole completions, by which completions are compared (preference tuning): one pass over the rows, the head on the tokens
 * that count alone.
 */

/** A completion: tokens of a row that count. */
export interface Completion {
  /** Number of the row that it stands in. */
  readonly row: number;
  /** As long as the row: 1 for its tokens, 0 for others. That of the first token is never read: nothing predicts it. */
  readonly weights: readonly number[];
}

/** How the tensors of a set of completions are called where a batch has several sets. */
export interface CompletionNames {
  /** What stands before each name, and before those of its sizes. Default nothing. */
  readonly prefix?: string;
  /** Name of the number of completions in a group. Default `completions`. */
  readonly count?: string;
}

/** Types of what {@link completionBatch} makes: `tokens` i32[rows, seq], `scored` i32[scored], and of each group f32[completions, scored]. */
export function completionSpec(groups: readonly string[], { prefix = "", count = "completions" }: CompletionNames = {}): BatchSpec {
  const scored = sym(`${prefix}scored`);
  return {
    [`${prefix}tokens`]: { dtype: "i32", shape: [sym(`${prefix}rows`), sym(`${prefix}seq`)] },
    [`${prefix}scored`]: { dtype: "i32", shape: [scored] },
    ...Object.fromEntries(groups.map((name) => [`${prefix}${name}`, { dtype: "f32" as const, shape: [sym(count), scored] }])),
  };
}

/**
 * Rows, right-padded, with the positions that predict what counts, and for each group which of these belong to which completion.
 * @param rows ids of each
 */
export function completionBatch(
  rows: readonly (readonly number[])[],
  groups: Readonly<Record<string, readonly Completion[]>>,
  { prefix = "" }: Pick<CompletionNames, "prefix"> = {},
): Batch {
  const { tokens } = padRows(rows, { length: 2 });
  const [, seq] = tokens.shape as readonly [number, number];
  const places = new Set<number>();
  const all = Object.values(groups).flat();
  for (const { row, weights } of all) for (let t = 1; t < weights.length; t++) if (weights[t] !== 0) places.add(row * seq + t - 1);
  // No tensor is without elements: where nothing counts, one position of weight 0.
  const scored = places.size > 0 ? [...places].sort((a, b) => a - b) : [0];
  const column = new Map(scored.map((place, i) => [place, i]));
  const membersOf = (completions: readonly Completion[]): Float32Array => {
    const members = new Float32Array(completions.length * scored.length);
    for (const [i, { row, weights }] of completions.entries())
      for (let t = 1; t < weights.length; t++)
        if (weights[t] !== 0) members[i * scored.length + column.get(row * seq + t - 1)!] = weights[t]!;
    return members;
  };
  const members = Object.entries(groups).map(([name, of]) => [`${prefix}${name}`, f32(membersOf(of), [of.length, scored.length])]);
  return { [`${prefix}tokens`]: tokens, [`${prefix}scored`]: i32(scored), ...Object.fromEntries(members) };
}

/**
 * Log-probability of each scored token given those before it, f32[scored].
 * @param forward a model, with what learns or without
 */
export function scoredLogProbs(
  forward: (input: ModelInput, hooks: readonly Hook[]) => Outputs,
  { tokens, scored }: { readonly tokens: Tensor; readonly scored: Tensor },
): Tensor {
  const { logits } = forward({ tokens }, [scoredHead(scored, tokens)]);
  return neg(crossEntropyPerItem(logits!, gather(reshape(tokens, [-1]), add(scored, 1))));
}

/** log π(completion | what stands before it), f32[completions]. @param members f32[completions, scored] of a group */
export function completionLogProbs(logProbs: Tensor, members: Tensor): Tensor {
  return reshape(matmul(members, reshape(logProbs, [-1, 1])), [members.dim(0)]);
}

/**
 * What counts at the scored positions of a batch, as {@link LearningTask.scored} wants it: the next tokens.
 * @param outputs of a pass over its rows, with {@link scoredHead} or without it
 * @param weights f32[scored]
 */
export function scoredCompletions(outputs: Outputs, { tokens, scored }: Batch<Tensor>, weights: Tensor): Required<Scored> {
  const targets = gather(reshape(tokens!, [-1]), add(scored!, 1));
  if (outputs.logits!.rank === 2) return { logits: outputs.logits!, targets, weights };
  const own = slice(outputs.logits!, 1, outputs.prefix ?? 0, tokens!.dim(1));
  return { logits: gather(reshape(own, [-1, own.dim(2)]), scored!), targets, weights };
}
