import { f32, type HostTensor, isLfmError, type MethodContext, needs, Rng, referenceEngine, runMethod } from "@lfm/core";
import { describe, expect, it } from "vitest";
import { expectMergekit } from "../../test/mergekit-golden.js";
import type { MergeOutput } from "../inputs.js";
import { average } from "./average.js";
import { passthrough } from "./passthrough.js";
import { taskArithmetic } from "./task-arithmetic.js";
import { ties } from "./ties.js";

const context: MethodContext = { engine: referenceEngine(), rng: new Rng(0), access: needs, log: () => {}, progress: () => {} };
const one = (...xs: number[]): Record<string, HostTensor> => ({ w: f32(xs) });
const values = ({ delta }: MergeOutput): number[] => Array.from(delta.tensors.w!.data as Float32Array);
const random = (seed: number): Record<string, HostTensor> => ({ w: f32(new Rng(seed).normalArray(40)) });

describe("merging", () => {
  it("average: hand-worked, and one model gives itself", async () => {
    // (1·1 + 3·5)/4 = 4, (1·2 + 3·(−2))/4 = −1
    expect(values(await runMethod(average, { models: { a: one(1, 2), b: one(5, -2) } }, { weight: [1, 3] }, context))).toEqual([4, -1]);
    expect(values(await runMethod(average, { models: { a: random(1) } }, {}, context))).toEqual(
      Array.from(random(1).w!.data as Float32Array),
    );
  });

  it("task arithmetic: hand-worked; λ = 0 gives the base, λ = 1 with one model gives the model", async () => {
    // base 1: 1 + 0.5·((3−1) + (0−1)) = 1.5
    expect(values(await runMethod(taskArithmetic, { base: one(1), models: { a: one(3), b: one(0) } }, { lambda: 0.5 }, context))).toEqual([
      1.5,
    ]);
    expect(values(await runMethod(taskArithmetic, { base: random(1), models: { a: random(2) } }, { lambda: 0 }, context))).toEqual(
      Array.from(random(1).w!.data as Float32Array),
    );
  });

  it("ties: hand-worked", async () => {
    // base 0; a = (4, −1, 0.1, 2), b = (2, 3, 0.2, −1); density .5 keeps a: (4, ·, ·, 2), b: (2, 3, ·, ·)
    // signs: +, +, +(tie), +; means of agreeing entries: 3, 3, 0, 2
    const out = await runMethod(
      ties,
      { base: one(0, 0, 0, 0), models: { a: one(4, -1, 0.1, 2), b: one(2, 3, 0.2, -1) } },
      { density: 0.5 },
      context,
    );
    expect(values(out)).toEqual([3, 3, 0, 2]);
  });

  it("ties: the order of models does not matter, one dense model gives itself", async () => {
    const [base, a, b, c] = [random(1), random(2), random(3), random(4)];
    const x = values(await runMethod(ties, { base, models: { a, b, c } }, { density: 0.3 }, context));
    const y = values(await runMethod(ties, { base, models: { c, a, b } }, { density: 0.3 }, context));
    for (const [i, v] of x.entries()) expect(v).toBeCloseTo(y[i]!, 6);
    const self = values(await runMethod(ties, { base, models: { a } }, { density: 1 }, context));
    for (const [i, v] of self.entries()) expect(v).toBeCloseTo(a.w!.data[i] as number, 6);
  });

  it("ties: as many entries stay as asked for, also where magnitudes are equal", async () => {
    // Four equal magnitudes, half of them kept: the first two.
    expect(values(await runMethod(ties, { base: one(0, 0, 0, 0), models: { a: one(2, -2, 2, -2) } }, { density: 0.5 }, context))).toEqual([
      2, -2, 0, 0,
    ]);
  });

  it("ties over the whole model trims a quiet tensor away that trimming per tensor keeps", async () => {
    const inputs = { base: { u: f32([0, 0]), w: f32([0, 0]) }, models: { a: { u: f32([5, 4]), w: f32([0.1, 0.2]) } } };
    const whole = await runMethod(ties, inputs, { density: 0.5 }, context, "paper");
    expect([...whole.delta.tensors.u!.data, ...whole.delta.tensors.w!.data]).toEqual([5, 4, 0, 0]);
    const each = await runMethod(ties, inputs, { density: 0.5 }, context);
    expect([...each.delta.tensors.u!.data, ...each.delta.tensors.w!.data]).toEqual([5, 0, 0, f32([0.2]).data[0]]);
  });

  it("hands tensors of integers through", async () => {
    const ids = (n: number): HostTensor => ({ dtype: "i64", shape: [1], data: BigInt64Array.of(BigInt(n)) });
    const out = await runMethod(taskArithmetic, { base: { i: ids(3) }, models: { a: { i: ids(3) } } }, {}, context);
    expect(out.delta.tensors.i).toEqual(ids(3));
  });

  it("names the parameter that does not fit, the missing base and the unknown option", async () => {
    const shape = await runMethod(average, { models: { a: one(1), b: one(1, 2) } }, {}, context).catch((e: unknown) => e);
    expect(isLfmError(shape, "SHAPE_MISMATCH") && shape.message).toContain('"w"');
    expect(isLfmError(await runMethod(ties, { models: { a: one(1) } }, {}, context).catch((e: unknown) => e), "CONFIG_INVALID")).toBe(true);
    const option = await runMethod(ties, { models: { a: one(1) } }, { densty: 0.3 } as never, context).catch((e: unknown) => e);
    expect(isLfmError(option, "CONFIG_INVALID") && option.hint).toContain("density");
  });

  it("equals mergekit", async () => {
    await expectMergekit(average, "linear");
    await expectMergekit(taskArithmetic, "task_arithmetic");
    await expectMergekit(ties, "ties");
    await expectMergekit(passthrough, "passthrough");
  });
});
