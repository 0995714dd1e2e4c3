import { describe, expect, it } from "vitest";
import { nGramEntropy, textSimilarity } from "./fluency.js";

describe("the entropy of n-grams", () => {
  it("is the weighted mean of pairs' and triples', by hand", () => {
    // ab ba ab ba: 1 bit; aba bab aba: −⅔·log2 ⅔ − ⅓·log2 ⅓ bits.
    const triples = -(2 / 3) * Math.log2(2 / 3) - (1 / 3) * Math.log2(1 / 3);
    expect(nGramEntropy("a b a b a")).toBeCloseTo(((2 / 3) * 1 + (4 / 3) * triples) / 2, 12);
  });

  it("is 0 for a text that repeats one word, and log2 of the count where nothing comes twice", () => {
    expect(nGramEntropy("no no no no no no")).toBeCloseTo(0, 12);
    expect(nGramEntropy("one two three four five six")).toBeCloseTo(((2 / 3) * Math.log2(5) + (4 / 3) * Math.log2(4)) / 2, 12);
    expect([nGramEntropy(""), nGramEntropy("word")]).toEqual([0, 0]);
  });

  it("counts marks as words, and contractions as one", () => {
    expect(nGramEntropy("it's so, isn't it")).toBeCloseTo(nGramEntropy("a b c d e"), 12);
  });
});

describe("the similarity of texts", () => {
  const collection = ["aa bb", "aa cc"];

  it("is the cosine of TF-IDF vectors with smoothed idf, by hand", () => {
    // idf of aa: ln(3/3) + 1 = 1; of bb and cc: ln(3/2) + 1.
    const rare = Math.log(3 / 2) + 1;
    expect(textSimilarity(collection).between("aa bb", "aa cc")).toBeCloseTo(1 / (1 + rare ** 2), 12);
    // Twice the word, twice its weight: (1, 2·rare) and (1, rare).
    const cosine = (1 + 2 * rare ** 2) / (Math.sqrt(1 + 4 * rare ** 2) * Math.sqrt(1 + rare ** 2));
    expect(textSimilarity(collection).between("bb aa bb", "aa bb")).toBeCloseTo(cosine, 12);
  });

  it("passes over case, single letters and words that the collection lacks", () => {
    const { between } = textSimilarity(collection);
    expect(between("AA x unknown", "aa")).toBeCloseTo(1, 12);
    expect(between("unknown words", "aa bb")).toBe(0);
  });
});
