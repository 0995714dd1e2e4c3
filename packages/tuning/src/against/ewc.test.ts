import { compile, f32, grad, isLfmError, type Model, plainWeights, runMethod } from "@lfm/core";
import { gpt2, initWeights } from "@lfm/models";
import { collectFisher } from "@lfm/statistics";
import { languageModelTask } from "@lfm/train";
import { expect, it } from "vitest";
import { context, engine, model, numbers, old, task } from "../../test/small-classifier.js";
import { bottleneck } from "../methods/bottleneck.js";
import { full } from "../methods/full.js";
import { lora } from "../methods/lora.js";
import { ewcPenalty } from "./ewc.js";

it("is λ/2·Σ F·(θ − θ*)² with gradient λ·F·(θ − θ*), by hand; a fresh parameter is free", async () => {
  const given = { theta: f32([1, 2, -1]), star: f32([0, 2.5, 1]), fisher: f32([2, 4, 0.5]), head: f32([7, 7, 7]) };
  const type = { dtype: "f32", shape: [3] } as const;
  const f = await compile(engine, { theta: type, star: type, fisher: type, head: type }, ({ theta, star, fisher, head }) => {
    const changed = [
      { name: "w", before: star, after: theta },
      { name: "head", before: theta, after: head },
    ];
    const loss = ewcPenalty(changed, { w: fisher }, 3, new Set(["head"]));
    return { loss, gradient: grad(loss, { theta }).theta };
  });
  const { loss, gradient } = await f(given);
  // 3/2·(2·1² + 4·0.5² + 0.5·2²) = 7.5
  expect(numbers(loss)).toEqual([7.5]);
  expect(numbers(gradient)).toEqual([6, -6, -3]);
});

it.each(["full", "lora"] as const)("of %s holds what it makes of the weights", async (id) => {
  const fisher = await collectFisher(engine, model, old, { samples: 3 });
  const options = { lr: 0.1, against: ["ewc" as const], ewcLambda: 50 };
  const run = (steps: number, ewcLambda: number) =>
    id === "full"
      ? runMethod(full, { model, task, fisher }, { ...options, steps, ewcLambda }, context)
      : runMethod(lora, { model, task, fisher }, { ...options, steps, ewcLambda, r: 2 }, context);
  const consolidated = async (steps: number, ewcLambda: number): Promise<number> => {
    const { delta } = await run(steps, ewcLambda);
    const weights = await plainWeights(engine, model, [delta]);
    let sum = 0;
    for (const [name, t] of Object.entries(weights)) {
      const [before, f] = [numbers(model.params[name] as typeof t), numbers(fisher.tensors[name] as typeof t)];
      numbers(t).forEach((w, i) => {
        sum += f[i]! * (w - before[i]!) ** 2;
      });
    }
    return sum;
  };
  const { curves } = await run(3, 50);
  expect(curves.ewc![0]![1]).toBe(0);
  expect(curves.ewc![2]![1] / (25 * (await consolidated(2, 50)))).toBeCloseTo(1, 4);
  expect(curves.loss![2]![1]).toBeCloseTo(curves.taskLoss![2]![1] + curves.ewc![2]![1], 5);
  expect(await consolidated(30, 1e4)).toBeLessThan((await consolidated(30, 1e-6)) / 5);
});

it("is refused without statistics, with those of other weights, and where no weight is changed", async () => {
  const fisher = await collectFisher(engine, model, old, { samples: 3 });
  const refusal = (given: object): Promise<unknown> =>
    runMethod(full, { model, task, ...given }, { steps: 1, against: ["ewc"] }, context).catch((e: unknown) => e);
  expect(isLfmError(await refusal({}), "CONFIG_INVALID")).toBe(true);
  expect(isLfmError(await refusal({ fisher, parent: "0".repeat(64) }), "PARENT_MISMATCH")).toBe(true);
  const tiny = gpt2({ vocab_size: 5, n_embd: 4, n_layer: 1, n_head: 1, n_positions: 8 });
  const reader: Model = { ...tiny, params: initWeights(tiny.info, { seed: 1 }) };
  const words = languageModelTask("words", () => ({
    tokens: { dtype: "i32", shape: [1, 2], data: Int32Array.of(1, 2) },
    weights: f32([0, 1], [1, 2]),
  }));
  const refused = await runMethod(bottleneck, { model: reader, task: words }, { steps: 1, against: ["l2-sp"] }, context).catch(
    (e: unknown) => e,
  );
  expect(isLfmError(refused, "CAPABILITY_MISSING") && refused.hint).toContain("replay or lwf");
});
