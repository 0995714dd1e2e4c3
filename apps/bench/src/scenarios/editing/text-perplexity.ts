/** e to the mean of −log p over all tokens. */
export function perplexityOf(scores: readonly { readonly logProbs: readonly number[] }[]): number {
  const all = scores.flatMap(({ logProbs }) => logProbs);
  return Math.exp(-all.reduce((a, b) => a + b, 0) / all.length);
}
