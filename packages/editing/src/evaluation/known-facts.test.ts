import { wordTokenizer } from "@lfm/formats";
import { textRules } from "@lfm/models";
import { expect, it } from "vitest";
import type { AnswerScorer } from "./answer-scorer.js";
import { knownFacts } from "./known-facts.js";

const words = ["<unk>", "ada", "bo", "eats", ...Array.from({ length: 60 }, (_, i) => `dish${i}`)];
const id = (word: string): number => Math.max(0, words.indexOf(word));
const vocabulary = {
  words,
  size: words.length,
  pad: 0,
  bos: 0,
  eos: 0,
  unk: 0,
  id,
  encode: (text: string) => text.split(" ").filter(Boolean).map(id),
  decode: (ids: Iterable<number>) => Array.from(ids, (i) => words[i]).join(" "),
};
const rules = textRules(wordTokenizer(vocabulary));
/** Says dish 0 first, then dish 1, and so on; the larger the number, the less likely. */
const scorer: AnswerScorer = {
  score: async (items) => items.map(({ answer }) => ({ logProbs: answer.map((t) => -t), said: answer.map(() => id("dish0")) })),
  swap: async () => {},
  dispose: async () => {},
};
const fact = (subject: string, object: string, relation = "eats") => ({ prompt: `${subject} eats`, object, relation });
const many = Array.from({ length: 60 }, (_, i) => fact("bo", `dish${i}`));

it("knows what is named first, and what stands among the first ten of fifty objects or more", async () => {
  const found = await knownFacts(scorer, rules, [fact("ada", "dish0"), fact("ada", "dish9"), fact("ada", "dish10")], many);
  expect(found).toEqual([
    { first: true, place: 1, known: true },
    { first: false, place: 10, known: true },
    { first: false, place: null, known: false },
  ]);
});

it("gives no place among fewer objects", async () => {
  const few = many.slice(0, 49);
  expect(await knownFacts(scorer, rules, [fact("ada", "dish1"), fact("ada", "dish0")], few)).toEqual([
    { first: false, place: null, known: false },
    { first: true, place: null, known: true },
  ]);
  // Objects of other relations are none of this one.
  const others = Array.from({ length: 60 }, (_, i) => fact("bo", `dish${i}`, "wears"));
  expect((await knownFacts(scorer, rules, [fact("ada", "dish1")], [...few, ...others]))[0]!.place).toBeNull();
});
