import { ortEngine } from "@lfm/core";
import { zooEvaluation } from "@lfm/data";
import { expect, it } from "vitest";
import { answerAccuracy, loadZoo } from "./index.js";

it("answers every question of the final evaluation as the recipe says", async () => {
  const { lm, world, recipe } = await loadZoo();
  const engine = await ortEngine({ threads: 2 });
  for (const [set, prompts] of Object.entries(zooEvaluation(world))) {
    const share = await answerAccuracy(engine, lm, world, prompts);
    // Another processor may round the odd answer the other way.
    expect(Math.abs(share - recipe.evaluation[set as keyof typeof recipe.evaluation]), set).toBeLessThan(0.005);
  }
  expect(recipe.evaluation.trained).toBeGreaterThanOrEqual(0.95);
  expect(recipe.evaluation.heldOut).toBeGreaterThanOrEqual(0.85);
  expect(recipe.evaluation.unseenWithPassage).toBeGreaterThanOrEqual(0.85);
  expect(recipe.evaluation.unseen).toBeLessThanOrEqual(0.1);
});
