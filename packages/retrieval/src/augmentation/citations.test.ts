import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { citationsOf, numberedText } from "./citations.js";
import { fitPassages } from "./fit-passages.js";

const cats = { id: "c", title: "Cats", text: "They chase mice at night." };
const moon = { id: "m", text: "The moon is made of rock." };

describe("citationsOf", () => {
  it("by hand: what is named, and what holds the answer's words", () => {
    const passages = [cats, moon].map((passage, i) => ({ number: i + 1, passage }));
    // Stems cat, chase, mice; "the" and "at" are stop words.
    expect(citationsOf("The cat chased mice [1].", passages)).toEqual([
      { number: 1, id: "c", title: "Cats", named: true, support: 1 },
      { number: 2, id: "m", named: false, support: 0 },
    ]);
    expect(citationsOf("Rocks, and mice [1, 2]", passages)).toMatchObject([
      { named: true, support: 1 / 2 },
      { named: true, support: 1 / 2 },
    ]);
    expect(citationsOf("[3] is", passages)).toMatchObject([{ named: false, support: null }, { support: null }]);
    expect(numberedText({ number: 2, passage: cats })).toBe("[2] Cats They chase mice at night.");
  });
});

describe("fitPassages", () => {
  const words = (passages: readonly { readonly text: string }[]): number =>
    passages.reduce((n, { text }) => n + text.split(/\s+/).filter(Boolean).length, 0);
  const of = (...texts: string[]) => texts.map((text, i) => ({ id: String(i), text }));

  it("takes the best that fit, passes over one that does not, and cuts the first alone", () => {
    const passages = of("a b c", "d e f g h", "i j");
    expect(fitPassages(passages, words, 100)).toEqual({ passages, cut: undefined });
    expect(fitPassages(passages, words, 5).passages.map((p) => p.id)).toEqual(["0", "2"]);
    expect(fitPassages(passages, words, 2).passages.map((p) => p.id)).toEqual(["2"]);
    expect(fitPassages(passages.slice(0, 2), words, 2)).toEqual({ passages: [{ id: "0", text: "a b" }], cut: "0" });
    expect(fitPassages(passages, words, 0)).toEqual({ passages: [], cut: undefined });
    expect(fitPassages([], words, 5)).toEqual({ passages: [], cut: undefined });
  });

  it("cuts no character in two", () => {
    const units = (passages: readonly { readonly text: string }[]): number => passages.reduce((n, { text }) => n + text.length, 0);
    expect(fitPassages(of("ab😀cd"), units, 3).passages).toEqual([{ id: "0", text: "ab" }]);
    expect(fitPassages(of("one two three"), units, 7).passages).toEqual([{ id: "0", text: "one two" }]);
    const spaces = " ".repeat(100_000);
    expect(fitPassages(of(`one${spaces}two`), units, 100_005).passages).toEqual([{ id: "0", text: "one" }]);
    expect(fitPassages(of("one two three"), units, 6).passages).toEqual([{ id: "0", text: "one" }]);
  });

  it("never takes more than there is room for, and something wherever a word fits", () => {
    const text = fc.array(fc.constantFrom("a", "bb", "ccc"), { minLength: 1, maxLength: 9 }).map((list) => list.join(" "));
    fc.assert(
      fc.property(fc.array(text, { minLength: 1, maxLength: 5 }), fc.integer({ min: 1, max: 20 }), (texts, budget) => {
        const { passages } = fitPassages(of(...texts), words, budget);
        expect(words(passages)).toBeLessThanOrEqual(budget);
        expect(passages.length).toBeGreaterThan(0);
      }),
      { numRuns: 100, seed: 3 },
    );
  });
});
