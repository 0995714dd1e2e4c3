import { compile, f32, gather, i32, ortEngine } from "@lfm/core";
import { describe, expect, it } from "vitest";
import { answersOfLabels, scoredLoss, tokenClassification, tokenRegression } from "./task.js";

describe("tasks of token sequences", () => {
  it("give a model the segments of pairs, and no segments where there are none", () => {
    for (const shape of [tokenClassification("x"), tokenRegression("x", 1)]) {
      expect(Object.keys(shape.batch)).toEqual(["tokens", "mask", expect.any(String)]);
    }
    for (const shape of [tokenClassification("x", { pairs: true }), tokenRegression("x", 1, { pairs: true })]) {
      expect(Object.keys(shape.batch)).toEqual(["tokens", "mask", "segments", expect.any(String)]);
    }
  });

  it("regress by squared error", async () => {
    const task = tokenRegression("x", 1);
    // A model whose answer is its first token's value in a table.
    const loss = await compile(
      await ortEngine(),
      { tokens: { dtype: "i32", shape: [2] }, values: { dtype: "f32", shape: [2, 1] } },
      ({ tokens, values }, { table }) => ({
        loss: scoredLoss(task.scored({ logits: gather(table, tokens) }, { values })).loss,
      }),
      { frozen: { table: f32([1, 2, 4], [3, 1]) } },
    );
    const { loss: found } = await loss({ tokens: i32([0, 2]), values: f32([3, 4.5], [2, 1]) });
    expect(found.data[0]).toBeCloseTo((4 + 0.25) / 2, 6);
  });

  it("take labels as transformers does: shifted right behind the start token, what is below 0 neither learned nor read", () => {
    const { tokens, weights } = answersOfLabels(i32([5, -100, 6, 7, 8, -100], [2, 3]), { start: 0, pad: 9 });
    expect([tokens.shape, Array.from(tokens.data, Number)]).toEqual([
      [2, 4],
      [0, 5, 9, 6, 0, 7, 8, 9],
    ]);
    expect([weights.shape, Array.from(weights.data, Number)]).toEqual([
      [2, 4],
      [0, 1, 0, 1, 0, 1, 1, 0],
    ]);
  });
});
