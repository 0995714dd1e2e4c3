import type { BlackBox, HostTensor } from "@lfm/core";
import { f32, Rng } from "@lfm/core";
import type { BlackBoxInput } from "@lfm/models";
import { expect, it } from "vitest";
import { context } from "../../test/linear-models.js";
import { attackTexts, changedAtMost, misclassified, type Recipe } from "./recipe.js";
import { editsAtMost, typos } from "./typos.js";

/** Class 1 is as likely as 0.8, less 0.3 for each letter "b" that a text has not; texts are read letter by letter. */
function letters(): BlackBox<BlackBoxInput> {
  let queries = 0;
  return {
    budget: 1000,
    offers: "probabilities",
    get queries() {
      return queries;
    },
    predict: async (input): Promise<HostTensor> => {
      const rows = input as readonly (readonly number[])[];
      queries += rows.length;
      const p = rows.map((row) => 0.2 + 0.3 * row.filter((id) => id === 98).length);
      return f32(
        p.flatMap((v) => [1 - v, v]),
        [rows.length, 2],
      );
    },
  };
}
const encode = (text: string): readonly number[] => [...text].map((c) => c.charCodeAt(0));
const recipe: Recipe = {
  goal: misclassified,
  constraints: [changedAtMost(0.25)],
  transformation: () => ["x"],
  search: { order: "deletion" },
};

it("by hand: the words that matter are exchanged first, and every row is counted", async () => {
  const box = letters();
  const texts = { texts: ["a  b c b", "a c"], labels: [1, 1] };
  const found = await attackTexts(box, texts, encode, recipe, { queriesPerText: 100, cases: 5 }, context);
  // p = 0.8: one word of four may go, and without one "b" it is 0.5, which is no error yet. "a c" has p = 0.2: it was never right.
  expect(found.risks.success).toMatchObject({ hits: 0, of: 1 });
  // One clean, four without a word, then a try for each of the four words; the other is asked about once.
  expect(box.queries).toBe(1 + 4 + 1 + 0 + 1);
  const wide = await attackTexts(
    letters(),
    texts,
    encode,
    { ...recipe, constraints: [changedAtMost(0.5)] },
    { queriesPerText: 100, cases: 5 },
    context,
  );
  expect(wide.risks.success).toMatchObject({ hits: 1, of: 1 });
  expect(wide.cases).toEqual([{ text: "a  b c b", becomes: "a  x c x", words: 2 }]);
  expect(wide.measured).toMatchObject({ wordsChanged: 0.5, cleanAccuracy: 0.5, robustAccuracy: 0 });
});

it("stops at its queries", async () => {
  const box = letters();
  const found = await attackTexts(
    box,
    { texts: ["a b c b"], labels: [1] },
    encode,
    { ...recipe, constraints: [] },
    { queriesPerText: 6, cases: 0 },
    context,
  );
  expect([box.queries, found.risks.success!.value]).toEqual([6, 0]);
});

it("typos are one edit, a swap is two, and words of one letter have none", () => {
  const rng = new Rng(1);
  for (let i = 0; i < 50; i++)
    for (const changed of typos(["some", "word"], 1, rng)) {
      expect(editsAtMost(2)(["some", "word"], ["some", changed])).toBe(true);
      expect(changed).not.toBe("word");
    }
  expect(typos(["a"], 0, rng)).toEqual([]);
  expect(editsAtMost(2)(["kitten", "x"], ["sitting", "x"])).toBe(false);
  expect(editsAtMost(3)(["kitten", "x"], ["sitting", "x"])).toBe(true);
});
