import {
  adamw,
  type Checkpoint,
  type CheckpointState,
  f32,
  firstNonFinite,
  isLfmError,
  linear,
  meanSquaredError,
  ortEngine,
  type ParamTree,
  Rng,
  referenceEngine,
  sgd,
  sym,
} from "@lfm/core";
import { describe, expect, it } from "vitest";
import { fit } from "./fit.js";
import type { FitState } from "./training.js";

const truth = [2, -3, 0.5];
const task = {
  trainable: { w: f32([0, 0, 0], [1, 3]), b: f32([0]) },
  batch: { x: { dtype: "f32", shape: [sym("n"), 3] }, y: { dtype: "f32", shape: [sym("n"), 1] } },
  batches: (step: number) => {
    const rng = new Rng(step);
    const x = rng.normalArray(24);
    const y = Float32Array.from({ length: 8 }, (_, i) => 1 + truth.reduce((s, t, j) => s + t * x[i * 3 + j]!, 0));
    return { x: f32(x, [8, 3]), y: f32(y, [8, 1]) };
  },
  loss: (p: ParamTree, b: ParamTree) => ({ loss: meanSquaredError(linear(b.x!, p.w!, p.b!), b.y!) }),
  optimizer: adamw(),
  lr: 0.05,
  rng: new Rng(0),
} as const;

describe("fit", () => {
  it("recovers a linear map on ONNX Runtime", async () => {
    const result = await fit({ ...task, engine: await ortEngine({ threads: 1 }), steps: 400 });
    for (const [i, t] of truth.entries()) expect(result.params.w!.data[i]).toBeCloseTo(t, 2);
    expect(result.params.b!.data[0]).toBeCloseTo(1, 2);
    expect(task.trainable.w.data[0]).toBe(0);
  });

  it("resumes from a snapshot with the same bits as an unbroken run", async () => {
    const engine = await ortEngine({ threads: 1 });
    let saved: FitState | undefined;
    const whole = await fit({ ...task, engine, steps: 20 });
    await fit({
      ...task,
      engine,
      steps: 20,
      onStep: (s, _v, snapshot) => {
        if (s === 9) {
          saved = snapshot();
          return "stop";
        }
        return undefined;
      },
    });
    const rest = await fit({ ...task, engine, steps: 20, resume: saved! });
    expect(rest.params.w!.data).toEqual(whole.params.w!.data);
    expect(rest.curves).toEqual(whole.curves);
  });

  it("saves itself when stopped and goes on with the same bits; refuses a checkpoint of other parameters", async () => {
    const engine = await ortEngine({ threads: 1 });
    const whole = await fit({ ...task, engine, steps: 20 });
    let saved: CheckpointState | undefined;
    const checkpoint: Checkpoint = {
      load: async () => saved,
      save: async (state) => {
        saved = state;
      },
    };
    const stop = new AbortController();
    const onStep = (s: number): undefined => {
      if (s === 12) stop.abort();
    };
    const stopped = await fit({ ...task, engine, steps: 20, checkpoint, signal: stop.signal, onStep }).catch((e: unknown) => e);
    expect(isLfmError(stopped, "ABORTED")).toBe(true);
    expect(saved?.step).toBe(12);
    const rest = await fit({ ...task, engine, steps: 20, checkpoint });
    expect(rest.params.w!.data).toEqual(whole.params.w!.data);
    // Curves are of the whole training, not of what came after the stop.
    expect(rest.curves).toEqual(whole.curves);
    const other = { ...task, trainable: { ...task.trainable, w: f32([0, 0, 0, 0], [1, 4]) } };
    expect(isLfmError(await fit({ ...other, engine, steps: 20, checkpoint }).catch((e: unknown) => e), "PARENT_MISMATCH")).toBe(true);
  });

  it("stops with the step when the loss is not finite, and on request", async () => {
    const engine = referenceEngine();
    const diverged = await fit({ ...task, engine, optimizer: sgd(), lr: 1e30, steps: 50 }).catch((e: unknown) => e);
    expect(isLfmError(diverged, "NUMERIC_DIVERGED") && typeof diverged.details.step).toBe("number");
    const stop = new AbortController();
    const aborted = await fit({
      ...task,
      engine,
      steps: 50,
      signal: stop.signal,
      onStep: (s) => {
        if (s === 3) stop.abort();
        return undefined;
      },
    }).catch((e: unknown) => e);
    expect(isLfmError(aborted, "ABORTED")).toBe(true);
  });

  it("hands back and saves nothing that is not finite, and keeps what was before it", async () => {
    const engine = referenceEngine();
    for (const lr of [1e39, 1e-50, Number.NaN])
      await expect(fit({ ...task, engine, lr, steps: 1 })).rejects.toMatchObject({ code: "CONFIG_INVALID" });
    // One step, whose loss is still finite.
    const far = { ...task, engine, optimizer: sgd(), lr: 3e38 };
    await expect(fit({ ...far, steps: 1 })).rejects.toMatchObject({
      code: "NUMERIC_DIVERGED",
      message: expect.stringMatching(/"\w" is no longer finite at step 0/),
      hint: expect.stringContaining("--lr"),
    });
    let saved: CheckpointState | undefined;
    const checkpoint: Checkpoint = {
      load: async () => saved,
      save: async (state) => {
        saved = state;
      },
    };
    await expect(fit({ ...far, steps: 1, checkpoint })).rejects.toMatchObject({ code: "NUMERIC_DIVERGED" });
    expect(saved).toBeUndefined();
    const schedule = (step: number): number => (step < 3 ? 1e-3 : 1e38);
    await expect(fit({ ...task, engine, optimizer: sgd(), lr: 1, schedule, steps: 9, checkpoint })).rejects.toMatchObject({
      code: "NUMERIC_DIVERGED",
    });
    expect(saved!.step).toBeGreaterThanOrEqual(3);
    expect(firstNonFinite(saved!.tensors)).toBeUndefined();
  });

  it("goes on from whole checkpoints only, and from none that is further than it shall get", async () => {
    const engine = referenceEngine();
    let saved: CheckpointState | undefined;
    const stop = new AbortController();
    const keep: Checkpoint = {
      load: async () => undefined,
      save: async (state) => {
        saved = state;
      },
    };
    const onStep = (s: number): undefined => {
      if (s === 6) stop.abort();
    };
    await expect(fit({ ...task, engine, steps: 20, checkpoint: keep, signal: stop.signal, onStep })).rejects.toMatchObject({
      code: "ABORTED",
    });
    const from = (state: CheckpointState, steps = 20) =>
      fit({ ...task, engine, steps, checkpoint: { load: async () => state, save: async () => {} } });
    for (const step of [Number.NaN, -5, 10.5, Number.POSITIVE_INFINITY])
      await expect(from({ ...saved!, step })).rejects.toMatchObject({
        code: "FILE_FORMAT",
        message: expect.stringContaining(`step ${step}`),
      });
    const nan = { ...saved!.tensors, "params/w": f32([Number.NaN, 0, 0], [1, 3]) };
    await expect(from({ ...saved!, tensors: nan })).rejects.toMatchObject({
      code: "FILE_FORMAT",
      message: expect.stringContaining("params/w"),
    });
    await expect(from(saved!, 5)).rejects.toMatchObject({ code: "CONFIG_INVALID", hint: expect.stringContaining("--steps 6") });
    expect((await from(saved!, 6)).steps).toBe(6);
  });
});
