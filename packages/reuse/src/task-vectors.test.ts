import { f32, type HostTensor, isLfmError, type MethodContext, needs, Rng, referenceEngine, runMethod } from "@lfm/core";
import { describe, expect, it } from "vitest";
import { relativeError } from "../test/mergekit-golden.js";
import { taskArithmetic } from "./methods/task-arithmetic.js";
import { addTasks, analogousTask, applyTask, negateTask, taskVector } from "./task-vectors.js";

const w = (...xs: number[]): Record<string, HostTensor> => ({ w: f32(xs) });
const values = (t: Readonly<Record<string, HostTensor>>): Float32Array => t.w!.data as Float32Array;
const error = (f: () => unknown): unknown => {
  try {
    return f();
  } catch (e) {
    return e;
  }
};

describe("task vectors", () => {
  const base = w(1, 2);
  const tau = taskVector(base, w(3, 1));

  it("hand-worked: difference, sum, negation, analogy", () => {
    expect(Array.from(values(tau))).toEqual([2, -1]);
    expect(Array.from(values(addTasks([tau, w(1, 1)], [0.5, 2])))).toEqual([3, 1.5]);
    expect(Array.from(values(negateTask(tau)))).toEqual([-2, 1]);
    expect(Array.from(values(analogousTask(w(1, 0), w(2, 5), w(0, 1))))).toEqual([1, 6]);
    expect(Array.from(values(applyTask(base, negateTask(tau), 0.5)))).toEqual([0, 2.5]);
  });

  it("λ = 0 gives the base, 1 the tuned model; negating twice changes nothing", () => {
    expect(values(applyTask(base, tau, 0))).toEqual(values(base));
    expect(Array.from(values(applyTask(base, tau)))).toEqual([3, 1]);
    expect(values(negateTask(negateTask(tau)))).toEqual(values(tau));
  });

  it("a sum that is applied is task arithmetic", async () => {
    const random = (seed: number): Record<string, HostTensor> => ({ w: f32(new Rng(seed).normalArray(50)) });
    const [start, a, b] = [random(1), random(2), random(3)];
    const context: MethodContext = { engine: referenceEngine(), rng: new Rng(0), access: needs, log: () => {}, progress: () => {} };
    const merged = await runMethod(taskArithmetic, { base: start, models: { a, b } }, { lambda: 0.4, weight: [1, 2] }, context);
    const sum = addTasks([taskVector(start, a), taskVector(start, b)], [1, 2]);
    expect(relativeError(values(applyTask(start, sum, 0.4)), values(merged.delta.tensors))).toBeLessThan(1e-6);
  });

  it("leaves integers alone, and names what does not fit", () => {
    const ids: HostTensor = { dtype: "i64", shape: [1], data: BigInt64Array.of(7n) };
    const mixed = { ...w(1), ids };
    expect(Object.keys(taskVector(mixed, mixed))).toEqual(["w"]);
    expect(applyTask(mixed, w(1)).ids).toEqual(ids);
    expect(
      isLfmError(
        error(() => taskVector(w(1), w(1, 2))),
        "SHAPE_MISMATCH",
      ),
    ).toBe(true);
    expect(
      isLfmError(
        error(() => applyTask({ ...w(1), v: f32([1]) }, w(1))),
        "PARAM_NOT_FOUND",
      ),
    ).toBe(true);
    expect(
      isLfmError(
        error(() => addTasks([w(1)], [1, 2])),
        "CONFIG_INVALID",
      ),
    ).toBe(true);
  });
});
