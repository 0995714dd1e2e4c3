import { compile, f32, grad, plainWeights, runMethod } from "@lfm/core";
import { expect, it } from "vitest";
import { context, engine, model, numbers, task } from "../../test/small-classifier.js";
import { lora } from "../methods/lora.js";
import { l2SpPenalty } from "./l2-sp.js";

it("is α/2·‖w − w⁰‖² + β/2·‖fresh‖² with gradients α·(w − w⁰) and β·fresh, by hand", async () => {
  const type = { dtype: "f32", shape: [2] } as const;
  const f = await compile(engine, { w: type, w0: type, head: type }, ({ w, w0, head }) => {
    const changed = [
      { name: "w", before: w0, after: w },
      { name: "head", before: w0, after: head },
    ];
    const loss = l2SpPenalty(changed, { alpha: 2, beta: 4 }, new Set(["head"]));
    const gradients = grad(loss, { w, head });
    return { loss, w: gradients.w, head: gradients.head };
  });
  const found = await f({ w: f32([1, -1]), w0: f32([0.5, 1]), head: f32([3, 0.5]) });
  // 1·(0.25 + 4) + 2·(9 + 0.25) = 22.75
  expect(numbers(found.loss)).toEqual([22.75]);
  expect(numbers(found.w)).toEqual([1, -4]);
  expect(numbers(found.head)).toEqual([12, 2]);
});

it("of a LoRA is that of s·B·A; the stronger, the closer the weights stay", async () => {
  const run = (steps: number, l2spAlpha: number) =>
    runMethod(lora, { model, task }, { steps, lr: 0.1, r: 2, against: ["l2-sp"], l2spAlpha }, context);
  const distance = async (steps: number, alpha: number): Promise<number> => {
    const weights = await plainWeights(engine, model, [(await run(steps, alpha)).delta]);
    return Object.entries(weights).reduce((sum, [name, t]) => {
      const before = numbers(model.params[name] as typeof t);
      return sum + numbers(t).reduce((s, w, i) => s + (w - before[i]!) ** 2, 0);
    }, 0);
  };
  const { curves } = await run(3, 0.5);
  expect(curves["l2-sp"]![2]![1] / (0.25 * (await distance(2, 0.5)))).toBeCloseTo(1, 3);
  expect(await distance(30, 10)).toBeLessThan((await distance(30, 1e-6)) / 5);
});
