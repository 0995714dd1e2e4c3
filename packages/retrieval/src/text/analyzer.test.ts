import { readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { analyzerNamed, analyzerNames, englishAnalyzer, stopWords, wordAnalyzer } from "./analyzer.js";
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

describe("languages", () => {
  const terms = (name: string, text: string): string[] => analyzerNamed(name).analyze(text);

  it.each([
    // What snowballstemmer 3 (Python) gives.
    ["german", "Die Häuser der Städte und schönste Möglichkeiten", ["haus", "stadt", "schon", "moglich"]],
    ["french", "Les élèves étudient à l'école", ["élev", "étudient", "écol"]],
    ["spanish", "Las casas y las ciudades hermosas", ["cas", "ciudad", "herm"]],
    ["russian", "большие дома", ["больш", "дом"]],
    ["turkish", "ISPARTA İzmir", ["ıspar", "izmir"]],
  ])("%s: %s", (name, text, expected) => expect(terms(name, text)).toEqual(expected));

  it("find a word by another of its forms", () => {
    expect(terms("german", "haus")).toEqual(terms("german", "Häuser"));
    expect(terms("french", "école")).toEqual(terms("french", "L’ÉCOLE"));
  });

  it("without spaces: pairs of characters, and words of a dictionary", () => {
    expect(terms("cjk", "서울은 대한민국의 수도이다")).toEqual(["서울", "울은", "대한", "한민", "민국", "국의", "수도", "도이", "이다"]);
    expect(terms("cjk", "東京タワー ＡＢＣ is 語")).toEqual(["東京", "京タ", "タワ", "ワー", "abc", "is", "語"]);
    expect(terms("thai", "ประเทศไทยมีเมืองหลวงชื่อกรุงเทพมหานคร")).toEqual(expect.arrayContaining(["ประเทศไทย", "กรุงเทพมหานคร"]));
  });

  it("all have their names, and others are refused with the nearest", () => {
    for (const name of analyzerNames) expect(analyzerNamed(name).name).toBe(name);
    expect(() => analyzerNamed("germn")).toThrow(expect.objectContaining({ code: "CONFIG_INVALID", hint: 'did you mean "german"?' }));
  });
});
