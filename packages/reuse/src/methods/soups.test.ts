import { f32, type HostTensor, isLfmError, type MethodContext, needs, Rng, referenceEngine, runMethod } from "@lfm/core";
import { conformMethod } from "@lfm/core/testing";
import { describe, expect, it } from "vitest";
import { deltaThroughBytes } from "../../test/through-bytes.js";
import { greedySoup } from "./soups.js";

const context: MethodContext = { engine: referenceEngine(), rng: new Rng(0), access: needs, log: () => {}, progress: () => {} };
const at = (...xs: number[]): Record<string, HostTensor> => ({ w: f32(xs) });
const values = (params: Readonly<Record<string, HostTensor>>): number[] => Array.from(params.w!.data as Float32Array);
/** The nearer to (1, 1) the better. */
const evaluate = (params: Readonly<Record<string, HostTensor>>): number => -Math.hypot(...values(params).map((v) => v - 1));

describe("greedy soup", () => {
  const models = { far: at(9, 9), left: at(0, 1), right: at(2, 1), high: at(1, 4) };

  it("hand-worked: the best first, then what helps", async () => {
    // left and right score −1 each: their mean is (1, 1). high and far would spoil it.
    const out = await runMethod(greedySoup, { models, evaluate }, {}, context);
    expect(out.chosen).toEqual(["left", "right"]);
    expect(values(out.delta.tensors)).toEqual([1, 1]);
    expect(out.score).toBeCloseTo(0, 12);
    expect(out.alone.high).toBe(-3);
  });

  it("a loss, a tolerance, models that are all alike", async () => {
    const loss = await runMethod(greedySoup, { models, evaluate: (p) => -evaluate(p) }, { lower_is_better: true }, context);
    expect(loss.chosen).toEqual(["left", "right"]);
    const lenient = await runMethod(greedySoup, { models, evaluate }, { tolerance: 1 }, context);
    expect(lenient.chosen).toEqual(["left", "right", "high"]);
    const same = await runMethod(greedySoup, { models: { a: at(3, 4), b: at(3, 4) }, evaluate }, {}, context);
    expect([same.chosen, values(same.delta.tensors)]).toEqual([
      ["a", "b"],
      [3, 4],
    ]);
  });

  it("is never worse than the best model, and refuses scores that are no numbers", async () => {
    for (let seed = 0; seed < 20; seed++) {
      const many = Object.fromEntries(["a", "b", "c", "d"].map((n, i) => [n, { w: f32(new Rng(10 * seed + i).normalArray(5)) }]));
      const out = await runMethod(greedySoup, { models: many, evaluate }, {}, context);
      expect(out.score).toBeGreaterThanOrEqual(Math.max(...Object.values(out.alone)));
      expect(out.score).toBe(evaluate(out.delta.tensors));
    }
    const error = await runMethod(greedySoup, { models, evaluate: () => Number.NaN }, {}, context).catch((e: unknown) => e);
    expect(isLfmError(error, "NUMERIC_DIVERGED")).toBe(true);
  });

  it("keeps the contract of methods", async () => {
    await conformMethod(greedySoup, {
      engine: referenceEngine(),
      inputs: () => ({ models, evaluate }),
      observe: ({ delta, chosen }) => ({ delta, chosen }),
      reload: async (output) => ({ ...output, delta: await deltaThroughBytes(greedySoup, output.delta) }),
    });
  });
});
