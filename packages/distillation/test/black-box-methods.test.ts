import { f32, type HostTensor, type Model, Rng, runMethod } from "@lfm/core";
import { createBlackBox, initWeights, mlp } from "@lfm/models";
import { describe, expect, it } from "vitest";
import type { z } from "zod";
import { planQueries } from "../src/black-box/plan-queries.js";
import { zerothOrderGradient } from "../src/black-box/zeroth-order.js";
import type { DistillationMethod } from "../src/define-student-method.js";
import { type DistillationInputs, dfme, ideal } from "../src/index.js";
import { testContext } from "./small-models.js";

/** Names the largest of three numbers. */
const teacher = mlp(
  { input_size: 3, hidden_sizes: [], output_size: 3 },
  { "fc1.weight": f32([3, 0, 0, 0, 3, 0, 0, 0, 3], [3, 3]), "fc1.bias": f32([0, 0, 0]) },
);
const shape = { input_size: 3, hidden_sizes: [16], output_size: 3 };
const inputs = (): DistillationInputs => ({
  teacher,
  student: mlp(shape, initWeights(mlp(shape).info, { seed: 5 })),
  itemShape: [3],
});

/** Share of 400 drawn points that two models call the same. */
async function agreement(a: Model, b: Model): Promise<number> {
  const { engine } = await testContext();
  const x = f32(new Rng(9).normalArray(1200), [400, 3]);
  const named = async (model: Model): Promise<number[]> => {
    const box = await createBlackBox(engine, model, { budget: 400, offers: "labels" });
    const { data } = await box.predict(x);
    await box.dispose();
    return Array.from({ length: 400 }, (_, r) => Array.from(data.slice(3 * r, 3 * r + 3), Number).indexOf(1));
  };
  const [p, q] = [await named(a), await named(b)];
  return p.filter((k, i) => k === q[i]).length / 400;
}

describe("a budget", () => {
  it("is spent to the last query: full turns while they last, the rest is the student's", () => {
    for (const [budget, exploring, learning] of [
      [1000, 0, 64],
      [1000, 128, 64],
      [5, 128, 64],
      [192, 128, 64],
      [193, 128, 64],
    ] as const) {
      const turns = planQueries(budget, exploring, learning);
      expect(turns.reduce((n, t) => n + t.exploring + t.learning, 0)).toBe(budget);
      expect(turns.every((t) => t.learning > 0 && t.learning <= learning)).toBe(true);
    }
    expect(planQueries(200, 128, 64)).toEqual([
      { exploring: 128, learning: 64 },
      { exploring: 0, learning: 8 },
    ]);
    expect(planQueries(0, 1, 1)).toEqual([]);
  });

  it("is on the bill to the unit, and the student stays when it is spent", async () => {
    const methods: readonly DistillationMethod<z.ZodObject>[] = [ideal, dfme];
    for (const method of methods)
      for (const queries of [203, 5]) {
        const options = { queries, batch: 16, noise: 4, width: 8, studentSteps: 1 };
        const output = await runMethod(method, inputs(), options, await testContext());
        expect(output.queries).toBe(queries);
        expect(Object.keys(output.delta.tensors)).toContain("fc1.weight");
        expect(output.monitors[0]?.message).toContain("what was asked about");
      }
  });
});

describe("gradients from values", () => {
  const linear =
    (a: readonly number[]) =>
    async (x: HostTensor): Promise<Float64Array> =>
      Float64Array.from({ length: x.shape[0]! }, (_, r) => a.reduce((s, v, j) => s + v * Number(x.data[r * a.length + j]), 0));

  it("of one number: exact, whatever the direction", async () => {
    const x = f32([0.5, -1], [2, 1]);
    const found = await zerothOrderGradient(linear([3]), x, { directions: 1, step: 0.25, rng: new Rng(1) });
    expect(Array.from(found)).toEqual([3, 3]);
  });

  it("of several: right on average, each direction one more question", async () => {
    let asked = 0;
    const f = async (x: HostTensor): Promise<Float64Array> => {
      asked++;
      return linear([1, -2, 0.5])(x);
    };
    const x = f32(new Float32Array(3), [1, 3]);
    const found = await zerothOrderGradient(f, x, { directions: 2000, step: 1, rng: new Rng(1) });
    expect(asked).toBe(2001);
    for (const [j, a] of [1, -2, 0.5].entries()) expect(Math.abs(found[j]! - a)).toBeLessThan(0.15);
  });
});

describe("a student of a black box", () => {
  const before = agreement(teacher, inputs().student);

  it("learns from labels alone, one query an example", async () => {
    const options = { queries: 2000, batch: 32, noise: 4, width: 16, lr: 0.01 };
    const { student, curves } = await runMethod(ideal, inputs(), options, await testContext());
    expect(curves.loss!.at(-1)![1]).toBeLessThan(curves.loss![0]![1]);
    expect(await agreement(teacher, student)).toBeGreaterThan(Math.max(0.85, await before));
  });

  it("learns from logits, where the generator asks its way to what they disagree on", async () => {
    const options = { queries: 4000, batch: 32, noise: 4, width: 16, lr: 0.01 };
    const { student } = await runMethod(dfme, inputs(), options, await testContext());
    expect(await agreement(teacher, student)).toBeGreaterThan(Math.max(0.9, await before));
  });
});
