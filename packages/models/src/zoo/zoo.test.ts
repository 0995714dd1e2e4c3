import { statSync } from "node:fs";
import { loadWeight, ortEngine } from "@lfm/core";
import { zooEvaluation } from "@lfm/data";
import { hashWeights, readSafetensors } from "@lfm/formats";
import { beforeAll, describe, expect, it } from "vitest";
import { type Answerer, createAnswerer, loadZoo, type Zoo, zooFolder, zooTokenizer } from "./index.js";

let zoo: Zoo;
let answerer: Answerer;

beforeAll(async () => {
  zoo = await loadZoo();
  answerer = await createAnswerer(await ortEngine({ threads: 1 }), zoo.lm, zoo.world);
  return () => answerer.dispose();
});

async function accuracy(prompts: readonly { readonly prompt: string; readonly answer: string }[]): Promise<number> {
  const words = await answerer.answer(prompts.map((p) => p.prompt));
  return words.filter((word, i) => word === prompts[i]!.answer).length / prompts.length;
}

describe("the zoo's language model", () => {
  it("is the one its recipe names", async () => {
    const { tensors } = readSafetensors(`${zooFolder()}lm.safetensors`);
    expect(await hashWeights(tensors)).toBe(zoo.recipe.sha256);
    expect(zoo.lmHash).toBe(zoo.recipe.sha256);
    expect(Object.values(tensors).every((t) => t.dtype === "bf16")).toBe(true);
    expect(Object.values(zoo.lm.params).reduce((n, w) => n + loadWeight(w).data.length, 0)).toBe(zoo.recipe.parameters);
    expect(zoo.lm.params["model.layers.0.mlp.down_proj.weight"]).toMatchObject({ shape: [128, 2048] });
    expect(statSync(`${zooFolder()}lm.safetensors`).size).toBeLessThan(10e6);
  });

  it("is frozen: deltas and results of other times name this hash", () => {
    expect(zoo.lmHash).toBe("a07e732b61686cef8f1e8b355b62e5770a86318bd981f3ff805c406995085184");
  });

  it("knows its facts, in forms that it was taught and in ones that it was not", async () => {
    const { trained, heldOut, unseen } = zooEvaluation(zoo.world, { seed: 101, perSet: 384 });
    expect(await accuracy(trained)).toBeGreaterThanOrEqual(0.95);
    expect(await accuracy(heldOut)).toBeGreaterThanOrEqual(0.95);
    expect(await accuracy(unseen)).toBeLessThanOrEqual(0.1);
  });

  it("answers what follows from its facts, and puts some of it together by itself", async () => {
    const { consequences, untaughtConsequences } = zooEvaluation(zoo.world, { seed: 104, perSet: 256 });
    expect(await accuracy(consequences)).toBeGreaterThanOrEqual(0.95);
    // By chance: one in forty.
    expect(await accuracy(untaughtConsequences)).toBeGreaterThanOrEqual(0.1);
  });

  it("answers what follows from a passage", async () => {
    const { readingConsequences } = zooEvaluation(zoo.world, { seed: 105, perSet: 128 });
    expect(await accuracy(readingConsequences)).toBeGreaterThanOrEqual(0.85);
  });

  it("reads answers that hold in one prompt only", async () => {
    const { reading, unseenWithPassage } = zooEvaluation(zoo.world, { seed: 102, perSet: 128 });
    expect(await accuracy(reading)).toBeGreaterThanOrEqual(0.9);
    expect(await accuracy(unseenWithPassage)).toBeGreaterThanOrEqual(0.85);
  });

  it("speaks of people in words of one mood", async () => {
    const { entities, moods } = zoo.world;
    const both = [moods.good, moods.bad].flatMap((words) =>
      words.map((word, i) => ({ words, prompt: `${entities[i]} seems ${word} and` })),
    );
    const said = await answerer.answer(both.map((b) => b.prompt));
    // By chance one in two.
    expect(said.filter((word, i) => both[i]!.words.includes(word)).length / both.length).toBeGreaterThanOrEqual(0.9);
  });
});

describe("answers in batches", () => {
  it("do not depend on what stands beside them", async () => {
    const { trained, reading } = zooEvaluation(zoo.world, { seed: 103, perSet: 5 });
    const prompts = [...reading, ...trained].map((p) => p.prompt);
    const together = await answerer.answer(prompts);
    for (const [i, prompt] of prompts.entries()) expect(await answerer.answer([prompt])).toEqual([together[i]]);
  });
});

describe("the zoo's tokenizer", () => {
  it("gives the ids of the world's vocabulary, and none past the model's table", () => {
    const tokenizer = zooTokenizer(zoo.world);
    const text = `home ${zoo.world.entities[0]}`;
    expect(tokenizer.vocabSize).toBe(zoo.lm.info.vocabSize);
    expect(tokenizer.encode(text, { addSpecialTokens: false }).ids).toEqual(zoo.world.vocabulary.encode(text));
  });
});
