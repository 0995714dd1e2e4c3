import { compile, f32, i32, referenceEngine } from "@lfm/core";
import { expect, it } from "vitest";
import { choiceHits, choiceTokens } from "./choices.js";

const row = (ids: readonly number[], answer: number) => ({
  ids,
  weights: ids.map((_, i) => (i >= ids.length - answer ? 1 : 0)),
  whole: ids.length,
});

it("answers that are one of a few are told by their first tokens", () => {
  expect(choiceTokens([row([1, 2, 7, 9], 2), row([3, 8, 9], 2), row([4, 7, 9], 2)])).toEqual([7, 8]);
  // As many answers as rows; one answer alone; two that begin alike.
  expect(choiceTokens([row([1, 7], 1), row([1, 8], 1)])).toBeUndefined();
  expect(choiceTokens([row([1, 7], 1), row([2, 7], 1)])).toBeUndefined();
  expect(choiceTokens([row([1, 7, 8], 2), row([2, 7, 9], 2), row([3, 7, 8], 2)])).toBeUndefined();
});

it("by hand: the most likely of the answers counts, whatever other tokens get", async () => {
  const f = await compile(
    referenceEngine(),
    {
      logits: { dtype: "f32", shape: [2, 2, 4] },
      next: { dtype: "i32", shape: [2, 2] },
      weights: { dtype: "f32", shape: [2, 2] },
    },
    (i) => ({ hits: choiceHits(i.logits, i.next, i.weights, [1, 3]) }),
  );
  // Rows are answered at their second place; token 0 is the most likely everywhere, of 1 and 3 the first row says 3, the second 1.
  const { hits } = await f({
    logits: f32([9, 0, 0, 0, 9, 1, 5, 2, 9, 0, 0, 0, 9, 2, 5, 1], [2, 2, 4]),
    next: i32([2, 3, 2, 3], [2, 2]),
    weights: f32([0, 1, 0, 1], [2, 2]),
  });
  await f.dispose();
  expect(Array.from(hits.data, Number)).toEqual([1, 0]);
});
