/** What one term adds to the score of one document, rounded as in Lucene: w − w / (1 + tf·inverse). */
export function termScore(weight: number, tf: number, inverse: number): number {
  const f = Math.fround;
  return f(weight - f(weight / f(1 + f(tf * inverse))));
}

/** A document length as Lucene stores it in one byte: exact below 40, then four significant bits above an offset of 24. */
export function luceneLength(length: number): number {
  const free = 24;
  if (length < free) return length;
  const rest = length - free;
  const shift = Math.max(0, 32 - Math.clz32(rest) - 4);
  return free + ((rest >>> shift) << shift);
}
