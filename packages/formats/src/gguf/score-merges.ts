/**
 * The merges that a SentencePiece BPE stands for. It joins, again and again, the neighbours whose joint piece has the best score, the leftmost of equal
 * ones; a list of merges does the same when every way to cut a piece in two known pieces stands at the place of the piece's score.
 * @param joins whether a piece is made by joining: control and user-defined pieces are not
 * @returns pairs, best first; of one score the longest left part first, as Hugging Face's converters order them
 */
export function mergesOfScores(
  tokens: readonly string[],
  scores: readonly number[],
  joins: (id: number) => boolean,
): readonly (readonly [string, string])[] {
  const ids = new Map(tokens.map((token, id) => [token, id]));
  const found: { readonly pair: readonly [string, string]; readonly score: number; readonly order: readonly [number, number] }[] = [];
  for (const [id, token] of tokens.entries()) {
    if (!joins(id)) continue;
    // Cut between code points only: no piece begins with half of one.
    for (let at = step(token, 0); at < token.length; at = step(token, at)) {
      const [left, right] = [token.slice(0, at), token.slice(at)];
      const [l, r] = [ids.get(left), ids.get(right)];
      if (l !== undefined && r !== undefined) found.push({ pair: [left, right], score: scores[id]!, order: [l, r] });
    }
  }
  const length = (text: string): number => [...text].length;
  found.sort(
    (a, b) =>
      b.score - a.score ||
      length(b.pair[0]) - length(a.pair[0]) ||
      length(b.pair[1]) - length(a.pair[1]) ||
      a.order[0] - b.order[0] ||
      a.order[1] - b.order[1],
  );
  return found.map((f) => f.pair);
}

function step(text: string, at: number): number {
  return at + ((text.codePointAt(at) ?? 0) > 0xffff ? 2 : 1);
}
