import { Rng } from "@lfm/core";
import { expect, it } from "vitest";
import { drawEpisode } from "./episodes.js";
import { createGlyphs, takeRows } from "./glyphs.js";

const glyphs = createGlyphs({ seed: 4 });

it("images are standardised and of the size asked for", () => {
  const { x, labels } = glyphs.all("train", 40);
  expect(x.shape).toEqual([400, 1, 16, 16]);
  expect(labels.shape).toEqual([400]);
  const data = x.data as Float32Array;
  const mean = data.reduce((a, v) => a + v, 0) / data.length;
  const std = Math.sqrt(data.reduce((a, v) => a + (v - mean) ** 2, 0) / data.length);
  expect(Math.abs(mean)).toBeLessThan(0.2);
  expect(Math.abs(std - 1)).toBeLessThan(0.2);
  for (let k = 0; k < 10; k++) expect((labels.data as Int32Array).filter((label) => label === k)).toHaveLength(40);
  expect(createGlyphs({ size: 28, classes: 2 }).image("train", 1, 0)).toHaveLength(784);
});

it("is a pure function of options, split, class and index; splits share no image", () => {
  expect(createGlyphs({ seed: 4 }).image("test", 3, 7)).toEqual(glyphs.image("test", 3, 7));
  expect(createGlyphs({ seed: 5 }).image("test", 3, 7)).not.toEqual(glyphs.image("test", 3, 7));
  const prints = (["train", "validation", "test"] as const).flatMap((split) =>
    Array.from({ length: 50 }, (_, i) => glyphs.image(split, 0, i).join()),
  );
  expect(new Set(prints).size).toBe(150);
});

it("images of a class are nearer to its mean than to other means, but not always", () => {
  const train = glyphs.all("train", 50);
  const means = Array.from({ length: 10 }, () => new Float32Array(256));
  (train.labels.data as Int32Array).forEach((label, i) => {
    for (let p = 0; p < 256; p++) means[label]![p]! += (train.x.data as Float32Array)[i * 256 + p]! / 50;
  });
  const nearest = (image: Float32Array): number => {
    const d = means.map((m) => m.reduce((a, v, p) => a + (v - image[p]!) ** 2, 0));
    return d.indexOf(Math.min(...d));
  };
  const test = glyphs.all("test", 30);
  const right = Array.from(test.labels.data as Int32Array).filter(
    (label, i) => nearest((test.x.data as Float32Array).subarray(i * 256, (i + 1) * 256)) === label,
  ).length;
  expect(right / 300).toBeGreaterThan(0.5);
  expect(right / 300).toBeLessThan(0.97);
});

it("takes rows", () => {
  const all = glyphs.all("train", 3);
  const two = takeRows(all, [5, 1]);
  expect(two.x.shape).toEqual([2, 1, 16, 16]);
  expect(Array.from(two.labels.data, Number)).toEqual([5, 1].map((row) => Number(all.labels.data[row])));
  expect(two.x.data.slice(256)).toEqual(all.x.data.slice(256, 512));
});

it("episodes: classes and items are drawn without repeats, labels run from 0", () => {
  const pools = Array.from({ length: 6 }, (_, k) => ({ count: k === 5 ? 2 : 4, item: (i: number) => Float32Array.of(10 * k + i) }));
  for (let seed = 0; seed < 20; seed++) {
    const { support, query } = drawEpisode(pools, [1], { ways: 3, shots: 1, queries: 2 }, new Rng(seed));
    expect(support.x.shape).toEqual([3, 1]);
    expect(Array.from(query.labels.data, Number)).toEqual([0, 0, 1, 1, 2, 2]);
    const ids = [...Array.from(support.x.data as Float32Array), ...Array.from(query.x.data as Float32Array)];
    expect(new Set(ids).size).toBe(9);
    const classOf = Array.from(support.x.data as Float32Array, (v) => Math.floor(v / 10));
    expect(classOf).not.toContain(5);
    Array.from(query.x.data as Float32Array).forEach((v, i) => {
      expect(Math.floor(v / 10)).toBe(classOf[Math.floor(i / 2)]);
    });
  }
  expect(() => drawEpisode(pools, [1], { ways: 6, shots: 1, queries: 2 }, new Rng(0))).toThrow(
    expect.objectContaining({ code: "CONFIG_INVALID" }),
  );
});

it("refuses sizes that cannot be drawn", () => {
  expect(() => createGlyphs({ size: 15 })).toThrow(expect.objectContaining({ code: "CONFIG_INVALID" }));
  expect(() => createGlyphs({ classes: 1 })).toThrow(expect.objectContaining({ code: "CONFIG_INVALID" }));
});
