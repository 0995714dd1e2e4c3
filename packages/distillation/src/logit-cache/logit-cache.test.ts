import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync, truncateSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { f32, type HostTensor, type Model, parseConfig } from "@lfm/core";
import type { LearningTask } from "@lfm/train";
import { afterAll, beforeEach, describe, expect, it } from "vitest";
import { distance, promptTask, rowTask, smallBert, smallLlama, testContext } from "../../test/small-models.js";
import type { DistillationOutput } from "../inputs.js";
import { logitKd } from "../methods/logit-kd.js";
import { type LogitCachePlace, openLogitCache } from "./logit-cache.js";
import { knownRows } from "./row-keys.js";
import { bytesOf, decodeRow, encodeRow } from "./told-rows.js";

const root = mkdtempSync(join(tmpdir(), "lfm-answers-"));
let count = 0;
let place: LogitCachePlace;
beforeEach(() => {
  place = { folder: join(root, String(count++)), teacher: "a", dtype: "f32" };
});
afterAll(() => rmSync(root, { recursive: true }));

const file = (): string => join(place.folder, readdirSync(place.folder)[0]!, "answers.bin");
/** A teacher that cannot be asked. */
const silent = (model: Model): Model => ({
  ...model,
  forward: () => {
    throw new Error("the teacher was asked");
  },
});
const teacher = smallBert(1);
const learn = async (
  cache: LogitCachePlace | undefined,
  by: Model = teacher,
  task: LearningTask = rowTask(),
): Promise<DistillationOutput> =>
  logitKd.run(
    { teacher: by, student: smallBert(2, { layers: 1 }), task, ...(cache ? { cache } : {}) },
    parseConfig(logitKd, { steps: 3, lr: 0.01 }),
    await testContext(),
  );

describe("a student of answers that are kept", () => {
  it("learns what it learns of a teacher beside it, and the next one asks the teacher nothing", async () => {
    const [beside, kept] = [await learn(undefined), await learn(place)];
    expect(distance(kept.delta.tensors, beside.delta.tensors)).toBeLessThan(1e-5);
    // The same rows between longer ones are known again, one by one.
    const again = await learn(place, silent(teacher), rowTask(5));
    for (const [i, [, loss]] of again.curves.loss!.entries()) expect(Math.abs(loss / kept.curves.loss![i]![1] - 1)).toBeLessThan(1e-5);
    await expect(learn(place, silent(teacher), { ...rowTask(), batches: (n) => rowTask().batches(n + 3) })).rejects.toThrow("was asked");
    await expect(learn({ ...place, teacher: "b" }, silent(teacher))).rejects.toThrow("was asked");
  });

  it("of text: only positions that count are kept", async () => {
    const run = async (by: Model, cache?: LogitCachePlace): Promise<DistillationOutput> =>
      logitKd.run(
        { teacher: by, student: smallLlama(2), task: promptTask(), ...(cache ? { cache } : {}) },
        parseConfig(logitKd, { steps: 2, lr: 0.01 }),
        await testContext(),
      );
    const [beside, kept] = [await run(smallLlama(1)), await run(smallLlama(1), place)];
    expect(distance(kept.delta.tensors, beside.delta.tensors)).toBeLessThan(1e-5);
    // Two batches of three and of two positions with eleven logits each, and what stands around each of the four rows.
    expect(statSync(file()).size).toBe(21 + 4 * (32 + 8 + 8 + 8) + 2 * 5 * 11 * 4);
    const half = await run(smallLlama(1), { ...place, dtype: "f16" });
    expect(distance(half.delta.tensors, beside.delta.tensors)).toBeLessThan(0.02);
    expect(distance(half.delta.tensors, beside.delta.tensors)).toBeGreaterThan(0);
  });
});

describe("how a row is kept", () => {
  const row = f32([3, -1, 0.5, 2, 8, 8.5, -4, 0], [2, 4]);
  const through = (how: Parameters<typeof encodeRow>[1]): HostTensor => {
    const bytes = encodeRow(row, how);
    expect(bytes.length).toBe(bytesOf(how, 2, 4));
    return decodeRow(bytes, how, 2, 4);
  };
  const probabilities = ({ data }: HostTensor): number[] =>
    [0, 4].flatMap((start) => {
      const p = Array.from({ length: 4 }, (_, i) => Math.exp(Number(data[start + i])));
      const all = p.reduce((a, v) => a + v, 0);
      return p.map((v) => v / all);
    });

  it("whole in f32, and to f16's eleven bits of the distance to the largest", () => {
    expect(through({ dtype: "f32" }).data).toEqual(row.data);
    const [exact, half] = [probabilities(row), probabilities(through({ dtype: "f16" }))];
    for (const [i, p] of exact.entries()) expect(Math.abs(half[i]! - p)).toBeLessThan(1e-3 * p);
  });

  it("the largest two have their own probabilities, the others share the rest alike", () => {
    const p = probabilities(row);
    for (const [dtype, off] of [
      ["f32", 1e-6],
      ["f16", 2e-3],
    ] as const) {
      const q = probabilities(through({ topK: 2, dtype }));
      for (const i of [0, 3, 4, 5]) expect(Math.abs(q[i]! / p[i]! - 1)).toBeLessThan(off);
      expect(Math.abs(q[1]! / ((p[1]! + p[2]!) / 2) - 1)).toBeLessThan(off);
      expect(q[1]).toBe(q[2]);
    }
    expect(through({ topK: 9, dtype: "f32" }).data).toEqual(row.data);
  });
});

it("a row is known by what counts in it, not by padding or by its neighbours", () => {
  const keys = (task: LearningTask, number: number): string[] =>
    knownRows(task.batch, task.batches(number)).keys.map((k) => k.toString("hex"));
  const one = keys(rowTask(), 0);
  expect(new Set(one).size).toBe(4);
  expect(keys(rowTask(7), 0)).toEqual(one);
  expect(
    keys(
      rowTask(0, () => ({ batch: 0, rows: [2, 1] })),
      0,
    ),
  ).toEqual([one[2], one[1]]);
  const text = knownRows(promptTask().batch, promptTask().batches(0));
  expect(text.answers).toEqual([3, 2]);
  expect(knownRows(promptTask(4).batch, promptTask(4).batches(0)).keys).toEqual(text.keys);
});

describe("a file of answers", () => {
  const key = (n: number): Buffer => Buffer.alloc(32, n);
  const begun = (): void => {
    const cache = openLogitCache(place);
    cache.put(key(1), f32([1, 2, 3], [1, 3]));
    cache.put(key(2), f32([4, 5, 6], [1, 3]));
    cache.close();
  };

  it("goes on; what a killed writer left half written is dropped", () => {
    begun();
    truncateSync(file(), statSync(file()).size - 3);
    const cache = openLogitCache(place);
    expect([cache.has(key(1)), cache.has(key(2)), cache.classes]).toEqual([true, false, 3]);
    cache.put(key(2), f32([7, 8, 9], [1, 3]));
    expect(Array.from(cache.get(key(2)).data, Number)).toEqual([7, 8, 9]);
    cache.close();
    const again = openLogitCache(place);
    expect(Array.from(again.get(key(1)).data, Number)).toEqual([1, 2, 3]);
    again.close();
  });

  it.each([
    ["its beginning", 2, "open"],
    ["a key", 25, "open"],
    ["a count", 21 + 33, "open"],
    ["an answer", 21 + 48 + 1, "get"],
  ] as const)("other bytes in %s are told", (_what, at, when) => {
    begun();
    const bytes = readFileSync(file());
    bytes[at]! ^= 1;
    writeFileSync(file(), bytes);
    const refused = expect.objectContaining({ code: "FILE_FORMAT", hint: expect.stringContaining(`rm ${file()}`) });
    if (when === "open") return expect(() => openLogitCache(place)).toThrow(refused);
    const cache = openLogitCache(place);
    expect(() => cache.get(key(1))).toThrow(refused);
    return cache.close();
  });
});
