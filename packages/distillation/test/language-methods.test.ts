import { compile, f32, type MethodContext, type Model, runMethod } from "@lfm/core";
import { createGenerator } from "@lfm/models";
import { describe, expect, it } from "vitest";
import { type DistillationInputs, gkd, jensenShannonLoss, minillm, seqKd } from "../src/index.js";
import { answeredRows, promptsOf } from "../src/sampled-rows.js";
import { oneBatch, promptTask, smallBert, smallLlama, testContext } from "./small-models.js";

const inputs = (padding = 0): DistillationInputs => ({ teacher: smallLlama(1, 12), student: smallLlama(2), task: promptTask(padding) });
const writing = { maxNewTokens: 4 };

describe("rows of prompts", () => {
  it("are taken apart where the first token counts, and put together with answers", () => {
    const batch = promptTask(2).batches(0);
    const prompts = promptsOf(batch, 8);
    const at = (row: number): number[] => Array.from(batch.tokens!.data.slice(8 * row, 8 * row + 3), Number);
    expect(prompts).toEqual([at(0), at(1)]);
    const answered = answeredRows(prompts, [[7, 2], []]);
    expect(answered.tokens!.shape).toEqual([2, 5]);
    expect(Array.from(answered.weights!.data, Number)).toEqual([0, 0, 0, 1, 1, 0, 0, 0, 0, 0]);
    expect(Array.from(answered.scored!.data, Number)).toEqual([2, 3]);
  });

  it("are openings where all of a row counts", () => {
    const batch = {
      tokens: { dtype: "i32", shape: [1, 5], data: Int32Array.of(4, 5, 6, 7, 0) },
      weights: f32([1, 1, 1, 1, 0], [1, 5]),
    } as const;
    expect(promptsOf(batch, 2)).toEqual([[4, 5]]);
    expect(promptsOf(batch, 9)).toEqual([[4, 5, 6, 7]]);
  });
});

describe("seq-kd", () => {
  it("learns what the teacher writes: cross entropy of its answers, none of the data's", async () => {
    const context = await testContext();
    const { curves } = await runMethod(seqKd, inputs(), { ...writing, steps: 1 }, context);
    const { teacher, student, task } = inputs();
    const prompts = promptsOf(task!.batches(0), 8);
    const generator = await createGenerator(context.engine, teacher);
    const answers = await generator.generateBatch(prompts, { maxNewTokens: 4, eos: 2 });
    const own = answers.map(({ tokens, finish }) => (finish === "eos" ? [...tokens, 2] : tokens));
    expect(curves.loss![0]![1]).toBeCloseTo(await crossEntropyOf(context, student, prompts, own), 4);
  });

  it("learns, and draws anew where it is asked to", async () => {
    const { task, ...models } = inputs();
    const { curves } = await runMethod(
      seqKd,
      { ...models, task: oneBatch(task!) },
      { ...writing, steps: 4, lr: 0.03 },
      await testContext(),
    );
    expect(curves.loss!.at(-1)![1]).toBeLessThan(curves.loss![0]![1]);
    const drawn = await runMethod(seqKd, inputs(), { ...writing, steps: 1, samplingTemperature: 2 }, await testContext());
    expect(drawn.curves.loss![0]![1]).not.toBeCloseTo(curves.loss![0]![1], 4);
    const beams = await runMethod(seqKd, inputs(), { ...writing, steps: 1, beams: 3 }, await testContext());
    expect(Number.isFinite(beams.curves.loss![0]![1])).toBe(true);
  });
});

describe("gkd", () => {
  it("on the data's answers: the divergence of both models, whatever the padding", async () => {
    const { teacher, student, task } = inputs();
    const batch = task!.batches(0);
    for (const beta of [0, 0.5, 1]) {
      const options = { ...writing, steps: 1, beta, onPolicy: 0 };
      const [short, long] = [
        await runMethod(gkd, inputs(), options, await testContext()),
        await runMethod(gkd, inputs(7), options, await testContext()),
      ];
      const found = short.curves.divergence![0]![1];
      expect(long.curves.divergence![0]![1]).toBeCloseTo(found, 5);
      const types = Object.fromEntries(Object.entries(batch).map(([name, { dtype, shape }]) => [name, { dtype, shape }]));
      const f = await compile(
        (await testContext()).engine,
        types,
        (b, params) => {
          const of = (model: Model, name: "t" | "s") => task!.scored(model.forward(params[name], task!.input(b), { mode: "eval" }), b);
          const [t, s] = [of(teacher, "t"), of(student, "s")];
          return { value: jensenShannonLoss(t.logits, s.logits, beta, 1, s.weights) };
        },
        { frozen: { t: teacher.params, s: student.params } },
      );
      expect(Number((await f(batch)).value.data[0])).toBeCloseTo(found, 4);
    }
  });

  it("on its own answers: of the student as it is at that step", async () => {
    const options = { ...writing, steps: 3, lr: 0.05, onPolicy: 1, samplingTemperature: 0 };
    const { curves } = await runMethod(gkd, inputs(), options, await testContext());
    // The same three steps by hand: each begins with the student that came out of those before.
    const one = await runMethod(gkd, inputs(), { ...options, steps: 1 }, await testContext());
    const { teacher, task } = inputs();
    const second = { ...task!, batches: (n: number) => task!.batches(n + 1) };
    const next = await runMethod(gkd, { teacher, student: one.student, task: second }, { ...options, steps: 1 }, await testContext());
    expect(next.curves.divergence![0]![1]).toBeCloseTo(curves.divergence![1]![1], 5);
  });

  it("draws the student to the teacher", async () => {
    const { curves } = await runMethod(gkd, inputs(), { ...writing, steps: 30, lr: 0.02 }, await testContext());
    const mean = (points: readonly (readonly [number, number])[]): number => points.reduce((a, [, v]) => a + v, 0) / points.length;
    expect(mean(curves.divergence!.slice(-5))).toBeLessThan(0.7 * mean(curves.divergence!.slice(0, 5)));
  });
});

describe("minillm", () => {
  it("draws what the student writes to what the teacher would", async () => {
    const { curves } = await runMethod(minillm, inputs(), { ...writing, steps: 40, lr: 0.02 }, await testContext());
    const mean = (points: readonly (readonly [number, number])[]): number => points.reduce((a, [, v]) => a + v, 0) / points.length;
    expect(mean(curves.policy!.slice(-8))).toBeLessThan(mean(curves.policy!.slice(0, 8)));
  });
});

it("models that write no text are refused before any work", async () => {
  for (const method of [seqKd, gkd, minillm])
    await expect(runMethod(method, { ...inputs(), student: smallBert(1) }, {}, await testContext())).rejects.toMatchObject({
      code: "CAPABILITY_MISSING",
      message: expect.stringContaining("bert"),
    });
});

async function crossEntropyOf(
  { engine }: MethodContext,
  model: Model,
  prompts: readonly (readonly number[])[],
  answers: readonly (readonly number[])[],
): Promise<number> {
  const generator = await createGenerator(engine, model);
  let [sum, count] = [0, 0];
  for (const [i, prompt] of prompts.entries()) {
    const open = await generator.open([[...prompt]]);
    for (const token of answers[i]!) {
      sum -= open.logProbabilities()[token]!;
      count++;
      await open.push([[token]]);
    }
  }
  await generator.dispose();
  return sum / count;
}
