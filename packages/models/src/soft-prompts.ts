import { add, broadcastTo, concat, type Dim, dimAdd, expandDims, full, type Hook, type HookContext, iota, type Tensor } from "@lfm/core";

/** Vectors that stand before the embedded tokens (prompt tuning). vectors — f32[v, hidden], v a number */
export function softPrompt(vectors: Tensor): Hook {
  return inFront(vectors.dim(0), () => expandDims(vectors, 0));
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
