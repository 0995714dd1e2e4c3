import { compile, f32, grad, type HostTensor, hostTensor, isLfmError, type Model, type ParamTree, runMethod } from "@lfm/core";
import { arrayRegression, type LearningTask, modelTraining, withBatches } from "@lfm/train";
import { expect, it } from "vitest";
import { context, engine, model, numbers, task } from "../../test/small-classifier.js";
import { full } from "../methods/full.js";
import { lora } from "../methods/lora.js";
import { withLwf } from "./lwf.js";

const x = task.batches(0).x!;

/** Logits of the two examples, a row each. */
async function logits(m: Model): Promise<number[][]> {
  const f = await compile(
    engine,
    { x: { dtype: "f32", shape: x.shape } },
    (b, params: ParamTree) => ({ y: m.forward(params, { features: b.x }, { mode: "eval" }).logits! }),
    {
      frozen: m.params,
    },
  );
  const y = numbers((await f({ x })).y);
  return [y.slice(0, 2), y.slice(2)];
}
const softmax = (row: readonly number[], temperature: number): number[] => {
  const e = row.map((v) => Math.exp(v / temperature));
  return e.map((v) => v / e.reduce((a, b) => a + b, 0));
};
/** −Σ p₀·log p at temperature T, the mean of the rows. */
const crossEntropy = (before: number[][], now: number[][], t: number): number =>
  before.reduce((sum, row, i) => {
    const p = softmax(now[i]!, t);
    return sum - softmax(row, t).reduce((s, q, c) => s + q * Math.log(p[c]!), 0) / before.length;
  }, 0);

/** Loss and gradient of the last bias, moved away from the base's. */
async function lossAndGradient(kept: LearningTask, bias: HostTensor): Promise<{ loss: number; gradient: number[] }> {
  const { frozen, loss, batch } = modelTraining(model, kept, { learned: { "fc2.bias": bias } });
  const f = await compile(
    engine,
    { own: { "fc2.bias": { dtype: "f32", shape: [2] } }, batch, key: { dtype: "i32", shape: [] }, step: { dtype: "f32", shape: [] } },
    (given, rest: ParamTree) => {
      const found = loss({ ...rest, ...given.own }, given.batch, { key: given.key, step: given.step });
      return { loss: found.loss, gradient: grad(found.loss, given.own)["fc2.bias"] };
    },
    { frozen },
  );
  const out = await f({
    own: { "fc2.bias": bias },
    batch: task.batches(0),
    key: hostTensor("i32", [], Int32Array.of(0)),
    step: f32([1], []),
  });
  return { loss: numbers(out.loss)[0]!, gradient: numbers(out.gradient) };
}

it("adds λ·−Σ p₀·log p at temperature T; its gradient in the logits is λ/T·(p − p₀), by hand", async () => {
  const before = await logits(model);
  const bias = f32(numbers(model.params["fc2.bias"] as HostTensor).map((v, i) => v + [0.7, -0.4][i]!));
  const now = before.map((row) => row.map((v, i) => v + [0.7, -0.4][i]!));
  const [plain, kept] = [await lossAndGradient(task, bias), await lossAndGradient(withLwf(task, { weight: 3, temperature: 2 }), bias)];
  expect(kept.loss - plain.loss).toBeCloseTo(3 * crossEntropy(before, now, 2), 5);
  const expected = [0, 1].map((c) => before.reduce((s, row, i) => s + ((3 / 2) * (softmax(now[i]!, 2)[c]! - softmax(row, 2)[c]!)) / 2, 0));
  kept.gradient.forEach((g, c) => {
    expect(g - plain.gradient[c]!).toBeCloseTo(expected[c]!, 5);
  });
});

it("stands beside any method: the answers stay nearer to those before", async () => {
  const before = await logits(model);
  const run = (weight: number) =>
    runMethod(lora, { model, task }, { steps: 20, lr: 0.05, r: 2, against: ["lwf"], lwfWeight: weight }, context);
  const [held, free] = [await run(20), await run(1e-6)];
  const entropy = crossEntropy(before, before, 2);
  const away = async (m: Model): Promise<number> => crossEntropy(before, await logits(m), 2) - entropy;
  expect(await away(held.model)).toBeLessThan((await away(free.model)) / 5);
  expect(held.curves.lwf![0]![1]).toBeCloseTo(entropy, 5);
});

it("refuses a fresh head, which has no answers yet, and values", async () => {
  const refusal = (inputs: { readonly task: LearningTask; readonly fresh?: readonly string[] }): Promise<unknown> =>
    runMethod(full, { model, ...inputs }, { steps: 1, against: ["lwf"] }, context).catch((e: unknown) => e);
  expect(isLfmError(await refusal({ task, fresh: ["fc2.weight"] }), "CAPABILITY_MISSING")).toBe(true);
  const values = withBatches(arrayRegression("values", "features", [2], 2), () => ({ x, y: f32([1, 2, 3, 4], [2, 2]) }));
  expect(isLfmError(await refusal({ task: values }), "CONFIG_INVALID")).toBe(true);
});
