import { runMethod } from "@lfm/core";
import { expect, it } from "vitest";
import { context as plain } from "../../test/linear-models.js";
import { smallBert, smallTexts } from "../../test/small-bert.js";
import { rules, words } from "../../test/small-words.js";
import { questionsOf } from "../asked.js";
import { neighbours } from "../text/neighbours.js";
import { deepWordBug } from "./deep-word-bug.js";
import { textFooler } from "./text-fooler.js";

const context = { ...plain, access: [...plain.access, "tokenizer" as const] };
const questions = questionsOf(
  smallBert,
  smallTexts(12, () => 1),
);
const texts = {
  texts: questions.kind === "tokens" ? questions.sequences.map((ids) => ids.map((id) => words[id]).join(" ")) : [],
  labels: questions.labels,
};
const inputs = { victim: smallBert, texts, text: rules };

it("breaks texts by neighbours of words, more where more may be changed; a cosine of 1 leaves none", async () => {
  const with_ = async (options: object) => (await runMethod(textFooler, inputs, options, context)).findings;
  const wide = await with_({ minCosine: -1, maxShare: 1 });
  const narrow = await with_({ minCosine: -1 });
  expect(narrow.measured.cleanAccuracy!).toBeGreaterThan(0.2);
  expect(wide.risks.success!.value).toBeGreaterThan(0);
  expect(wide.risks.success!.value).toBeGreaterThanOrEqual(narrow.risks.success!.value);
  expect(narrow.measured.wordsChanged ?? 0).toBeLessThanOrEqual(0.2);
  expect((await with_({ minCosine: 1 })).risks.success!.value).toBe(0);
});

it("takes the nearest words first, by the cosine of their vectors", () => {
  const near = neighbours(smallBert, rules, { count: 23, minCosine: -1 })(["bbb"], 0, plain.rng);
  const table = (smallBert.params["bert.embeddings.word_embeddings.weight"] as { data: Float32Array }).data;
  const vector = (w: string): number[] => Array.from(table.slice(8 * words.indexOf(w), 8 * words.indexOf(w) + 8));
  const cosine = (w: string): number => {
    const [a, b] = [vector("bbb"), vector(w)];
    return a.reduce((sum, v, i) => sum + v * b[i]!, 0) / (Math.hypot(...a) * Math.hypot(...b));
  };
  expect(near).toEqual(words.filter((w) => w !== "bbb").toSorted((a, b) => cosine(b) - cosine(a)));
});

it("typos make unknown words, and the bill is kept per text", async () => {
  const { findings } = await runMethod(deepWordBug, inputs, { queriesPerText: 20 }, context);
  expect(findings.queries).toBeLessThanOrEqual(12 * 20);
  expect(findings.risks.success!.value).toBeGreaterThan(0);
  expect(findings.measured.queriesPerText).toBeCloseTo(findings.queries / 12, 12);
});
