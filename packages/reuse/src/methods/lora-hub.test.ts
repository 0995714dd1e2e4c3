import { type Delta, f32, i32, isLfmError, type MethodContext, needs, Rng, referenceEngine, runMethod } from "@lfm/core";
import { mlp } from "@lfm/models";
import { arrayClassificationTask } from "@lfm/train";
import { describe, expect, it } from "vitest";
import { column, loraModule, row } from "../../test/lora-module.js";
import { loraHub } from "./lora-hub.js";

const context: MethodContext = { engine: referenceEngine(), rng: new Rng(0), access: needs, log: () => {}, progress: () => {} };
const flat = mlp({ input_size: 2, hidden_sizes: [], output_size: 2 });
const model = { ...flat, params: { "fc1.weight": f32([0, 0, 0, 0], [2, 2]), "fc1.bias": f32([0, 0]) } };
const module = (a: number[], b: number[], alpha = 1): Delta => loraModule("fc1", row(a), column(b), alpha);
/** The label is 0 where x₀ is positive. */
const task = arrayClassificationTask("sign", "features", [2], () => ({
  x: f32([1, 0.3, -1, 0.2, 2, -1, -2, 1], [4, 2]),
  labels: i32([0, 1, 0, 1]),
}));
/** Answers by x₀, and by x₁. */
const useful = module([3, 0], [1, -1]);
const useless = module([0, 3], [1, -1]);

describe("LoraHub", () => {
  it("weighs the module up that fits the new task", async () => {
    const { weights, curves } = await runMethod(loraHub, { model, modules: { useful, useless }, task }, { steps: 200 }, context);
    expect(Math.abs(weights.useful!)).toBeGreaterThan(0.8);
    expect(curves.loss![0]![1]).toBeCloseTo(Math.log(2), 5);
    expect(curves.loss!.at(-1)![1]).toBeLessThan(0.35);
  });

  it("the composed module is (Σ wA, Σ wB), hand-worked, and a LoRA itself", async () => {
    const { weights, delta, model: composed } = await runMethod(loraHub, { model, modules: { useful, useless }, task }, {}, context);
    const [u, v] = [weights.useful!, weights.useless!];
    const a = Array.from(delta.tensors["fc1.lora_A.weight"]!.data as Float32Array);
    const b = Array.from(delta.tensors["fc1.lora_B.weight"]!.data as Float32Array);
    for (const [i, x] of [3 * u, 3 * v].entries()) expect(a[i]).toBeCloseTo(x, 5);
    for (const [i, x] of [u + v, -u - v].entries()) expect(b[i]).toBeCloseTo(x, 5);
    expect(delta.method).toBe("tuning/lora");
    expect(Object.keys(composed.params)).toContain("delta.0.fc1.lora_A.weight");
  });

  it("one evaluation: w = 0, the base; weights stay within their bound", async () => {
    const start = await runMethod(loraHub, { model, modules: { useful }, task }, { steps: 1 }, context);
    expect(start.weights).toEqual({ useful: 0 });
    const bound = await runMethod(loraHub, { model, modules: { useful }, task }, { steps: 100, bound: 0.2, penalty: 0 }, context);
    expect(Math.abs(bound.weights.useful!)).toBeCloseTo(0.2, 2);
  });

  it("refuses modules that do not fit together, and none at all", async () => {
    const error = async (modules: Record<string, Delta>): Promise<unknown> =>
      runMethod(loraHub, { model, modules, task }, {}, context).catch((e: unknown) => e);
    expect(isLfmError(await error({}), "CONFIG_INVALID")).toBe(true);
    const scaled = await error({ useful, other: module([1, 0], [1, 0], 8) });
    expect(isLfmError(scaled, "CONFIG_INVALID") && scaled.message).toContain("loraAlpha");
    const other: Delta = { ...useful, tensors: { ...useful.tensors, "fc1.lora_A.weight": f32([1, 2, 3], [1, 3]) } };
    expect(isLfmError(await error({ useful, other }), "SHAPE_MISMATCH")).toBe(true);
    expect(isLfmError(await error({ useful, other: { ...useful, method: "tuning/prompt" } }), "CONFIG_INVALID")).toBe(true);
  });
});
