import {
  add,
  broadcastTo,
  concat,
  type Dim,
  dimAdd,
  expandDims,
  full,
  type Hook,
  type HookContext,
  iota,
  LfmError,
  type Tensor,
} from "@lfm/core";

/** Vectors that stand before the embedded tokens (prompt tuning). vectors — f32[v, hidden], v a number */
export function softPrompt(vectors: Tensor): Hook {
  return inFront(vectors.dim(0), () => expandDims(vectors, 0));
}

/**
 * Tokens that stand before the tokens of every row, embedded as the model embeds its own. ids — i32[v], v a number
 * @param moved f32[v, hidden] is added to what they are embedded as: the derivative by it is that by their vectors
 */
export function tokensInFront(ids: Tensor, moved?: Tensor): Hook {
  return inFront(ids.dim(0), ({ embed }) => {
    if (!embed) throw new LfmError("CAPABILITY_MISSING", "[@lfm/models] a prompt of tokens: the model embeds none");
    const rows = embed(expandDims(ids, 0));
    return moved ? add(rows, expandDims(moved, 0)) : rows;
  });
}

/** @param rows f32[1, v, hidden] */
function inFront(v: Dim, rows: (context: HookContext) => Tensor): Hook {
  return {
    matches: (site) => site.kind === "embedding",
    sequence: ({ embeddings, mask, positions, prefix }, _site, context) => {
      const batch = embeddings.dim(0);
      const front = broadcastTo(expandDims(iota(v), 0), [batch, v]);
      return {
        embeddings: concat([broadcastTo(rows(context), [batch, v, embeddings.dim(2)]), embeddings], 1),
        mask: concat([full([batch, v], 1), mask], 1),
        positions: concat([front, add(positions, v as number)], 1),
        prefix: dimAdd(prefix, v),
      };
    },
  };
}
