import { adamw, f32, isLfmError, linear, meanSquaredError, ortEngine, Rng, referenceEngine, sgd, sym } from "@lfm/core";
import { describe, expect, it } from "vitest";
import { type FitState, fit } from "./fit.js";

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
  loss: (p: Record<string, import("@lfm/core").Tensor>, b: { x: import("@lfm/core").Tensor; y: import("@lfm/core").Tensor }) => ({
    loss: meanSquaredError(linear(b.x, p.w!, p.b!), b.y),
  }),
  optimizer: adamw(),
  lr: 0.05,
  rng: new Rng(0),
} as const;

describe("fit", () => {
  it("recovers a linear map on ONNX Runtime", async () => {
    const result = await fit({ ...task, engine: await ortEngine({ threads: 1 }), steps: 400 });
    truth.forEach((t, i) => expect(result.params.w!.data[i]).toBeCloseTo(t, 2));
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
});
