import { readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { englishAnalyzer, stopWords, wordAnalyzer } from "./analyzer.js";
import { MAX_TOKEN_LENGTH, tokenize } from "./tokenize.js";

const golden = JSON.parse(readFileSync(new URL("../../test/golden/lucene-analysis.json", import.meta.url), "utf8")) as {
  text: string;
  terms: string[];
}[];

describe("englishAnalyzer", () => {
  it.each(golden.map(({ text, terms }) => [text, terms] as const))("gives Lucene's terms: %s", (text, terms) => {
    expect(englishAnalyzer().analyze(text)).toEqual(terms);
  });

  it("drops the 33 stop words and possessives, keeps the rest", () => {
    expect(stopWords).toHaveLength(33);
    expect(englishAnalyzer().analyze("The dog's bones ARE not there")).toEqual(["dog", "bone"]);
  });
});

describe("tokenize", () => {
  it("gives the same words with and without characters beyond ASCII in the text", () => {
    const text = "it's a__b _c 1,000.5 x.y.z a1.b2 e-mail foo:bar 3;4";
    expect(tokenize(`${text} \u00e9`).slice(0, -1)).toEqual(tokenize(text));
  });

  it("cuts what is longer than Lucene's limit", () => {
    expect(tokenize("a".repeat(600)).map((token) => token.length)).toEqual([MAX_TOKEN_LENGTH, MAX_TOKEN_LENGTH, 90]);
  });

  it("stays linear on hostile runs", () => {
    const started = performance.now();
    for (const unit of ["_", "a_", "a.", "'", "1,", "\u00e9_", "\u30fc"]) tokenize(unit.repeat(50_000));
    expect(performance.now() - started).toBeLessThan(5_000);
  });

  it("keeps everything but case in wordAnalyzer", () => {
    expect(wordAnalyzer().analyze("The Relations of U.S. mice")).toEqual(["the", "relations", "of", "u.s", "mice"]);
  });
});
