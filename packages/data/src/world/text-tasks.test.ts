import { expect, it } from "vitest";
import { packTextItems, textTasks } from "./text-tasks.js";
import { LABEL_TOKENS } from "./vocabulary.js";
import { createWorld } from "./world.js";

const world = createWorld();
const tasks = textTasks(world, { seed: 3, train: 512, validation: 128, test: 256 });

it("poses seven tasks on the same sentences with label tokens of their own", () => {
  expect(tasks.map((task) => task.id)).toEqual(["mood", "negation", "verdict", "acquaintance", "same", "order", "topic"]);
  const labels = tasks.flatMap((task) => task.labels);
  expect(new Set(labels).size).toBe(labels.length);
  expect(labels.length).toBeLessThanOrEqual(LABEL_TOKENS);
  for (const task of tasks) {
    expect(task.train.map((item) => item.text)).toEqual(tasks[0]!.train.map((item) => item.text));
    expect(task.train.map((item) => item.prompt)).toEqual(tasks[0]!.train.map((item) => item.prompt));
  }
});

it("balances the labels of every split exactly, each given any other task's label (but for the verdict)", () => {
  for (const task of tasks) {
    for (const split of [task.train, task.validation, task.test]) {
      for (const [k] of task.labels.entries())
        expect(split.filter((item) => item.label === k)).toHaveLength(split.length / task.labels.length);
    }
  }
  const [mood, , , , same] = tasks;
  expect(mood!.test.filter((item, i) => item.label === 1 && same!.test[i]!.label === 1)).toHaveLength(64);
});

it("keeps sentences and people of the splits apart", () => {
  const people = (split: "train" | "validation" | "test"): Set<string> => {
    const names = new Set([...world.entities, ...world.strangers]);
    return new Set(tasks[0]![split].flatMap((item) => item.text.split(" ").filter((word) => names.has(word))));
  };
  const [train, validation, test] = [people("train"), people("validation"), people("test")];
  for (const name of validation) expect(train.has(name)).toBe(false);
  for (const name of test) expect(train.has(name) || validation.has(name)).toBe(false);
  const texts = [...tasks[0]!.train, ...tasks[0]!.validation, ...tasks[0]!.test].map((item) => item.text);
  expect(new Set(texts).size).toBe(texts.length);
});

it("labels what stands in the sentence", () => {
  const good = new Set(world.moods.good);
  const strangers = new Set(world.strangers);
  const names = new Set([...world.entities, ...world.strangers]);
  const by = Object.fromEntries(tasks.map((task) => [task.id, task.test]));
  by.mood!.forEach((item, i) => {
    const words = item.text.split(" ");
    const seems = words.indexOf("seems");
    const adjective = words[words.indexOf("and") - 1]!;
    const denied = ["not", "never", "hardly"].includes(words[seems + 1]!) ? 1 : 0;
    expect(by.mood![i]!.label).toBe(good.has(adjective) ? 0 : 1);
    expect(by.negation![i]!.label).toBe(denied);
    expect(by.verdict![i]!.label).toBe(good.has(adjective) === (denied === 0) ? 0 : 1);
    expect(by.acquaintance![i]!.label).toBe(strangers.has(words[seems - 1]!) ? 1 : 0);
    expect(by.same![i]!.label).toBe(new Set(words.filter((word) => names.has(word))).size === 1 ? 1 : 0);
    expect(by.order![i]!.label).toBe(seems === 1 ? 0 : 1);
    const value = words[seems === 1 ? words.length - 3 : words.indexOf(".") - 1]!;
    expect(by.topic![i]!.label).toBe(Math.floor(world.relations.findIndex((r) => world.values[r.id]!.includes(value)) / 2));
  });
});

it("uses only words of the vocabulary and ends where the label follows", () => {
  for (const item of tasks[0]!.train) {
    expect(item.prompt[0]).toBe(world.vocabulary.bos);
    expect(item.prompt).not.toContain(world.vocabulary.unk);
    expect(item.prompt.at(-1)).toBe(world.vocabulary.id(":"));
    expect(item.prompt.length).toBeLessThan(24);
  }
});

it("is a pure function of world, seed and sizes", () => {
  expect(textTasks(world, { seed: 3, train: 512, validation: 128, test: 256 })).toEqual(tasks);
  expect(textTasks(world, { seed: 4, train: 512, validation: 128, test: 256 })[0]!.train).not.toEqual(tasks[0]!.train);
  expect(() => textTasks(world, { train: 0 })).toThrow(expect.objectContaining({ code: "CONFIG_INVALID" }));
  expect(() => textTasks(world, { test: 1.5 })).toThrow(/test must be a positive integer/);
});

it("packs items for a language-model loss: the only weight lies on the answer", () => {
  const items = tasks[1]!.train.slice(0, 5);
  const { tokens, weights, ends } = packTextItems(world, items);
  expect(tokens.shape).toEqual(weights.shape);
  const length = tokens.shape[1]!;
  items.forEach((item, i) => {
    const row = Array.from((tokens.data as Int32Array).subarray(i * length, (i + 1) * length));
    expect(row.slice(0, ends[i]! + 1)).toEqual(item.prompt);
    expect(row[ends[i]! + 1]).toBe(item.answer);
    expect(Array.from((weights.data as Float32Array).subarray(i * length, (i + 1) * length)).map((w, t) => w * t)).toEqual(
      row.map((_, t) => (t === ends[i]! + 1 ? t : 0)),
    );
  });
});
