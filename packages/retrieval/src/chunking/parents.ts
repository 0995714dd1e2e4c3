import type { Hit, Passage } from "@lfm/data";
import { type ChunkedPassage, type Chunker, chunkPassages } from "./chunk.js";

/** Small chunks that are searched, and the larger ones around them that are read. */
export interface ParentChild {
  readonly children: readonly ChunkedPassage[];
  readonly parents: readonly Passage[];
  /** Hits of children as hits of parents: each parent once, by its best child, best first. */
  toParents(hits: readonly Hit[]): Hit[];
}

/** Cuts passages into parents, and parents into children that are searched in their place. */
export function parentChild(passages: readonly Passage[], parent: Chunker, child: Chunker): ParentChild {
  const parents = chunkPassages(passages, parent);
  const children = chunkPassages(parents, child);
  const parentOf = new Map(children.map((chunk) => [chunk.id, chunk.parent]));
  return {
    children,
    parents,
    toParents: (hits) => {
      const seen = new Set<string>();
      return hits.flatMap(({ id, score }) => {
        const of = parentOf.get(id);
        if (of === undefined || seen.has(of)) return [];
        seen.add(of);
        return [{ id: of, score }];
      });
    },
  };
}
