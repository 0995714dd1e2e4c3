import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { wordAnalyzer } from "../text/analyzer.js";
import { buildBm25, loadBm25 } from "./bm25-index.js";
import { parseQuery } from "./query-syntax.js";

const passages = (texts: readonly string[]) => texts.map((text, i) => ({ id: `d${i}`, text }));
const words = { analyzer: wordAnalyzer(), lengths: "exact", positions: true } as const;

/** The definition: every document, every place. */
function bruteForce(texts: readonly string[], query: string): number[] {
  const documents = texts.map((text) => text.split(" ").filter(Boolean));
  const filled = documents.filter((d) => d.length > 0).length;
  const average = documents.reduce((n, d) => n + d.length, 0) / Math.max(1, filled);
  const idf = (df: number): number => Math.log(1 + (filled - df + 0.5) / (df + 0.5));
  const df = (word: string): number => documents.filter((d) => d.includes(word)).length;
  const part = (freqs: readonly number[], weight: number): number[] =>
    freqs.map((tf, i) => weight * (tf / (tf + 0.9 * (0.6 + (0.4 * documents[i]!.length) / average))));
  const ofWord = (word: string): number[] =>
    part(
      documents.map((d) => d.filter((w) => w === word).length),
      idf(df(word)),
    );
  const parts = query.split(/ (?=(?:[^"]*"[^"]*")*[^"]*$)/).flatMap((piece) => {
    if (piece.startsWith('"')) {
      const phrase = piece.slice(1, -1).split(" ");
      const freqs = documents.map((d) => d.filter((_, at) => phrase.every((word, i) => d[at + i] === word)).length);
      return [
        part(
          freqs,
          phrase.reduce((sum, word) => sum + idf(df(word)), 0),
        ),
      ];
    }
    if (!piece.endsWith("*")) return [ofWord(piece)];
    const terms = new Set(documents.flat().filter((word) => word.startsWith(piece.slice(0, -1))));
    return [...terms].map(ofWord);
  });
  return documents.map((_, i) => parts.reduce((sum, scores) => sum + scores[i]!, 0));
}

describe("phrases and beginnings", () => {
  it("find and score what going through every place of every document does", () => {
    const word = fc.constantFrom("aa", "ab", "abc", "b");
    const text = fc.array(word, { maxLength: 10 }).map((list) => list.join(" "));
    const piece = fc.oneof(
      word,
      fc.array(word, { minLength: 2, maxLength: 4 }).map((list) => `"${list.join(" ")}"`),
      fc.constantFrom("a*", "ab*", "c*"),
    );
    fc.assert(
      fc.property(
        fc.array(text, { minLength: 1, maxLength: 12 }),
        fc.uniqueArray(piece, { minLength: 1, maxLength: 3 }),
        (texts, query) => {
          const index = buildBm25(passages(texts), words);
          const wanted = bruteForce(texts, query.join(" "));
          const found = new Map(index.query(query.join(" "), 100).map(({ id, score }) => [id, score]));
          expect(found.size).toBe(wanted.filter((score) => score > 0).length);
          for (const [i, score] of wanted.entries()) if (score > 0) expect(found.get(`d${i}`)).toBeCloseTo(score, 4);
        },
      ),
      { numRuns: 200, seed: 7 },
    );
  });

  it("by hand: words that are left out keep their place", () => {
    const index = buildBm25(passages(["The cat sat on the mat.", "cat mat", "The mat of the cat", "cats sat in mats"]), {
      positions: true,
    });
    expect(index.query('"cat sat on the mat"', 5).map((h) => h.id)).toEqual(["d0"]);
    expect(index.query('"sat in mat"', 5).map((h) => h.id)).toEqual(["d3"]);
    expect(index.query('"cat mat"', 5).map((h) => h.id)).toEqual(["d1"]);
    expect(index.query('"mat of the cats"', 5).map((h) => h.id)).toEqual(["d2"]);
    expect(index.query('"cat"', 5)).toEqual(index.search("cat", 5));
    expect(index.query('"the of"', 5)).toEqual([]);
    expect(index.query('"cat dog"', 5)).toEqual([]);
  });

  it("are read as they stand; what is none of them is words", () => {
    expect(parseQuery('big "new york" comput* now')).toEqual([
      { kind: "words", text: "big     now" },
      { kind: "phrase", text: "new york" },
      { kind: "beginning", text: "comput" },
    ]);
    expect(parseQuery('5" * a*b 2*3')).toEqual([{ kind: "words", text: '5" * a*b 2*3' }]);
    const index = buildBm25(passages(["a b", "b c"]), words);
    expect(index.query("b c", 5)).toEqual(index.search("b c", 5));
  });

  it("stay in the file, and are refused where places were not kept", async () => {
    const folder = mkdtempSync(join(tmpdir(), "lfm-phrase-"));
    const texts = ["one two three two three", "two one", "three two"];
    const index = buildBm25(passages(texts), words);
    await index.save(join(folder, "index.safetensors"));
    const again = loadBm25(join(folder, "index.safetensors"));
    expect(again.query('"two three"', 5)).toEqual(index.query('"two three"', 5));
    expect(again.query('"two three"', 5).map((h) => h.id)).toEqual(["d0"]);
    rmSync(folder, { recursive: true });
    const without = buildBm25(passages(texts), { ...words, positions: false });
    expect(without.search("two", 5)).toEqual(index.search("two", 5));
    expect(() => without.query('"two three"', 5)).toThrow(expect.objectContaining({ code: "CAPABILITY_MISSING" }));
    const many = buildBm25(passages([Array.from({ length: 1100 }, (_, i) => `w${i}`).join(" ")]), words);
    expect(() => many.query("w*", 5)).toThrow(/1100 terms begin with "w"/);
  });
});
