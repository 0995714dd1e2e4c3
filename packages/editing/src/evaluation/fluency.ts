/** Words and marks, lower case left alone: what n-grams are made of. (ROME's code takes NLTK's tokens, which part contractions in two.) */
function wordsOf(text: string): readonly string[] {
  return text.match(/[\p{L}\p{N}]+(?:['’][\p{L}\p{N}]+)*|[^\s\p{L}\p{N}]/gu) ?? [];
}

/** Weights of the entropies of pairs and triples, as ROME's evaluation has them; their mean is taken. */
const WEIGHTS: readonly (readonly [n: number, weight: number])[] = [
  [2, 2 / 3],
  [3, 4 / 3],
];

/**
 * Fluency: the entropy of a text's pairs and triples of words, in bits, weighted (arXiv 2202.05262, section 3.3; GE). A model that repeats
 * itself falls towards 0. Times 100 it is what KnowEdit prints.
 * @returns 0 for a text of fewer than two words
 */
export function nGramEntropy(text: string): number {
  const words = wordsOf(text);
  return WEIGHTS.reduce((sum, [n, weight]) => sum + weight * entropyOf(words, n), 0) / WEIGHTS.length;
}

function entropyOf(words: readonly string[], n: number): number {
  const counts = new Map<string, number>();
  for (let i = 0; i + n <= words.length; i++) {
    const gram = words.slice(i, i + n).join("\u0000");
    counts.set(gram, (counts.get(gram) ?? 0) + 1);
  }
  const total = words.length - n + 1;
  let bits = 0;
  for (const count of counts.values()) bits -= (count / total) * Math.log2(count / total);
  return bits;
}

/** Tells how alike two texts are, by words weighted by how rare they are in a collection. */
export interface TextSimilarity {
  /** Cosine of the two texts' TF-IDF vectors, 0..1; 0 where one has no word of the collection. */
  between(a: string, b: string): number;
}

/**
 * TF-IDF of scikit-learn's TfidfVectorizer with its defaults, which ROME's reference score (RS) is made with: words of two characters or more
 * in lower case, idf = ln((1 + n)/(1 + df)) + 1; words that the collection lacks do not count.
 * @param collection texts that say which words are rare
 */
export function textSimilarity(collection: readonly string[]): TextSimilarity {
  const frequency = new Map<string, number>();
  for (const text of collection) for (const term of new Set(termsOf(text))) frequency.set(term, (frequency.get(term) ?? 0) + 1);
  const vectorOf = (text: string): ReadonlyMap<string, number> => {
    const vector = new Map<string, number>();
    for (const term of termsOf(text)) {
      const df = frequency.get(term);
      if (df !== undefined) vector.set(term, (vector.get(term) ?? 0) + Math.log((1 + collection.length) / (1 + df)) + 1);
    }
    return vector;
  };
  return {
    between: (a, b) => {
      const [x, y] = [vectorOf(a), vectorOf(b)];
      let dot = 0;
      for (const [term, value] of x) dot += value * (y.get(term) ?? 0);
      return dot === 0 ? 0 : dot / (length(x) * length(y));
    },
  };
}

function termsOf(text: string): readonly string[] {
  return text.toLowerCase().match(/[\p{L}\p{N}_]{2,}/gu) ?? [];
}

function length(vector: ReadonlyMap<string, number>): number {
  let sum = 0;
  for (const value of vector.values()) sum += value * value;
  return Math.sqrt(sum);
}
