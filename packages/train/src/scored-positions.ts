import { add, gather, type Hook, type HostTensor, i32, type Outputs, reshape, type Spec, slice, sym, type Tensor } from "@lfm/core";

/**
 * The head is the largest product of a small language model. Where only some tokens count (answers after prompts), it and the loss run on the
 * positions that predict those alone; all others are dropped before it.
 */

/** Type of what {@link scoredPositions} makes: i32[scored]. */
export const scoredSpec = { dtype: "i32", shape: [sym("scored")] } as const satisfies Spec;

/**
 * Positions whose next token counts.
 * @param weights f32[batch, seq]: weight of predicting token t from those before it; that of the first token is never read
 * @returns i32[scored], ascending: sequence · seq + position. Where nothing counts, one position of weight 0, since no tensor is empty
 */
export function scoredPositions(weights: HostTensor): HostTensor {
  const [batch, seq] = weights.shape as readonly [number, number];
  const found: number[] = [];
  for (let b = 0; b < batch; b++) for (let t = 1; t < seq; t++) if (Number(weights.data[b * seq + t]) !== 0) found.push(b * seq + t - 1);
  return i32(found.length > 0 ? found : [0]);
}

/**
 * Lets the head read scored positions alone: its input becomes f32[scored, hidden] and the model's logits f32[scored, vocab].
 * Hooks that stand at the head after it see rows of positions, not of examples: what goes by example (`context.batch`) has no place there.
 * @param scored i32[scored] of {@link scoredPositions}
 * @param tokens i32[batch, seq], what the model reads: prompts that hooks put in front are not counted
 */
export function scoredHead(scored: Tensor, tokens: Tensor): Hook {
  const seq = tokens.dim(1);
  return {
    matches: (site) => site.kind === "head",
    input: (x, _site, context) => {
      const own = slice(x, 1, context.prefix ?? 0, seq);
      return gather(reshape(own, [-1, x.dim(-1)]), scored, 0, { distinct: true });
    },
  };
}

/**
 * The tokens that are predicted at scored positions, with their weights: what {@link nextTokens} gives for all, without those that weigh 0.
 * @param outputs of a forward pass with {@link scoredHead}: logits f32[scored, vocab]
 * @param tokens i32[batch, seq]
 * @param weights f32[batch, seq] as given to {@link scoredPositions}
 */
export function scoredTokens(
  outputs: Outputs,
  tokens: Tensor,
  weights: Tensor,
  scored: Tensor,
): { readonly logits: Tensor; readonly targets: Tensor; readonly weights: Tensor } {
  const next = add(scored, 1);
  const at = (x: Tensor): Tensor => gather(reshape(x, [-1]), next);
  return { logits: outputs.logits!, targets: at(tokens), weights: at(weights) };
}
