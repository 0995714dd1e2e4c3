import {
  adamw,
  add,
  type Checkpoint,
  type CheckpointState,
  div,
  type Engine,
  f32,
  full,
  type HostTensor,
  linear,
  meanSquaredError,
  minimum,
  mul,
  ortEngine,
  type Progress,
  Rng,
  randomUniform,
  sgd,
  sqrt,
  square,
  sum,
  sym,
  type Tensor,
} from "@lfm/core";
import { beforeAll, describe, expect, it } from "vitest";
import { type FitOptions, fit } from "./fit.js";
import {
  type Batch,
  clipNorm,
  compileTraining,
  type FitState,
  type GradientStage,
  type Gradients,
  type MicroBatchStage,
  type TrainingSpec,
} from "./training.js";

let engine: Engine;
beforeAll(async () => {
  engine = await ortEngine({ threads: 1 });
});

const rng = new Rng(5);
const rows = (n: number): Batch => ({ x: f32(rng.normalArray(n * 3), [n, 3]), y: f32(rng.normalArray(n), [n, 1]) });
const cut = (b: Batch, from: number, to: number): Batch =>
  Object.fromEntries(
    Object.entries(b).map(([k, t]) => {
      const width = t.shape[1]!;
      return [k, f32((t.data as Float32Array).slice(from * width, to * width), [to - from, width])];
    }),
  );
const base = (): TrainingSpec => ({
  engine,
  trainable: { w: f32([0.1, -0.2, 0.3], [1, 3]), b: f32([0.5]) },
  batch: { x: { dtype: "f32", shape: [sym("n"), 3] }, y: { dtype: "f32", shape: [sym("n"), 1] } },
  loss: (p, b) => ({ loss: meanSquaredError(linear(b.x!, p.w!, p.b!), b.y!) }),
  optimizer: adamw({ weightDecay: 0.1 }),
});
/** The loss with the number of rows as its weight. */
const weighted = (): TrainingSpec => ({
  ...base(),
  loss: (p, b) => ({ loss: meanSquaredError(linear(b.x!, p.w!, p.b!), b.y!), weight: sum(add(mul(b.y!, 0), 1)) }),
});
const inputs = (step: number, n = 1): { lr: number; step: number; keys: number[] } => ({
  lr: 0.05,
  step,
  keys: Array.from({ length: n }, (_, i) => i),
});
const values = (t: HostTensor): number[] => Array.from(t.data, Number);
const close = (a: HostTensor, b: HostTensor, digits = 6): void => {
  values(a).forEach((v, i) => {
    expect(v).toBeCloseTo(values(b)[i]!, digits);
  });
};

describe("accumulation", () => {
  it("of uneven micro-batches by their weights is one step on all rows together", async () => {
    const all = [rows(6), rows(6)];
    const whole = await compileTraining(base());
    const parts = await compileTraining({ ...weighted(), accumulates: true });
    for (const [i, batch] of all.entries()) {
      const a = await whole.step([batch], inputs(i + 1));
      const b = await parts.step([cut(batch, 0, 1), cut(batch, 1, 4), cut(batch, 4, 6)], inputs(i + 1, 3));
      expect(b.loss).toBeCloseTo(a.loss!, 6);
    }
    for (const name of ["w", "b"]) close(parts.state().params[name]!, whole.state().params[name]!);
    await whole.dispose();
    await parts.dispose();
  });

  it("resumes in the middle of a fit with the same bits", async () => {
    const options = {
      ...weighted(),
      rng: new Rng(1),
      lr: 0.05,
      accumulate: 2,
      batches: (n: number) => cut(rowsOf(n), 0, 1 + (n % 3)),
      steps: 6,
    };
    const unbroken = await fit(options);
    let saved: FitState | undefined;
    await fit({
      ...options,
      onStep: (step, _values, snapshot) => {
        if (step !== 3) return undefined;
        saved = snapshot();
        return "stop";
      },
    });
    const rest = await fit({ ...options, resume: saved! });
    expect(rest.params).toEqual(unbroken.params);
    expect(rest.curves).toEqual(unbroken.curves);
  });
});

const fixed = rows(3);
const rowsOf = (_n: number): Batch => fixed;

describe("stages", () => {
  it("DP-SGD: gradients of single samples are clipped before they are summed (arXiv 1607.00133, algorithm 1)", async () => {
    const bound = 0.3;
    const clip: MicroBatchStage = (gradients) => {
      const norm = sqrt(
        Object.values(gradients)
          .map((g) => sum(square(g)))
          .reduce((a, b) => add(a, b)),
      );
      const scale = minimum(1, div(bound, norm));
      return { gradients: Object.fromEntries(Object.entries(gradients).map(([k, g]) => [k, mul(g, scale)])), weight: full([], 1) };
    };
    const batch = rows(4);
    // Whatever a sample weighs in the loss: clipped, all count alike, or the bound would not hold.
    const loss: TrainingSpec["loss"] = (p, b, context) => ({ ...base().loss(p, b, context), weight: add(sum(square(b.y!)), 1) });
    const training = await compileTraining({ ...base(), loss, optimizer: sgd(), each: clip, accumulates: true });
    await training.step(
      [0, 1, 2, 3].map((i) => cut(batch, i, i + 1)),
      { lr: 1, step: 1, keys: [0, 0, 0, 0] },
    );
    // By hand: d/dw (w·x + b − y)² = 2e·x, d/db = 2e, one sample at a time.
    const [w, b] = [[0.1, -0.2, 0.3], 0.5];
    const mean = [0, 0, 0, 0];
    for (let i = 0; i < 4; i++) {
      const x = values(batch.x!).slice(i * 3, i * 3 + 3);
      const e = x.reduce((s, v, j) => s + v * w[j]!, b) - values(batch.y!)[i]!;
      const g = [...x.map((v) => 2 * e * v), 2 * e];
      const norm = Math.hypot(...g);
      g.forEach((v, j) => {
        mean[j] = mean[j]! + (v * Math.min(1, bound / norm)) / 4;
      });
    }
    const { params } = training.state();
    [...w, b].forEach((v, j) => {
      expect(j < 3 ? values(params.w!)[j] : values(params.b!)[0]).toBeCloseTo(v - mean[j]!, 5);
    });
    await training.dispose();
  });

  it("a chain over the gradients, state that it carries, and a projection after the update", async () => {
    const halve: GradientStage = (gradients, { carry }) => ({
      gradients: Object.fromEntries(Object.entries(gradients).map(([k, g]) => [k, mul(g, 0.5)])),
      carry: { seen: add(carry.seen!, 1) },
    });
    const spec: TrainingSpec = {
      ...base(),
      optimizer: sgd(),
      gradients: [clipNorm(1), halve, halve],
      carry: { seen: f32([0], []) },
      project: (params, { params: before, carry }) => ({
        params: { ...params, b: before.b! },
        carry: { seen: mul(carry.seen!, 10) },
      }),
    };
    const training = await compileTraining(spec);
    const [batch, plain] = [rows(5), await compileTraining({ ...base(), optimizer: sgd(), gradients: [clipNorm(1)] })];
    const [a, b] = [await training.step([batch], inputs(1)), await plain.step([batch], inputs(1))];
    expect(a.gradNorm).toBeCloseTo(b.gradNorm!, 6);
    // Two stages count, the projection multiplies: (0 + 1 + 1)·10.
    expect(values(training.state().carry.seen!)).toEqual([20]);
    expect(values(training.state().params.b!)).toEqual([0.5]);
    const start = [0.1, -0.2, 0.3];
    values(training.state().params.w!).forEach((v, i) => {
      expect(v - start[i]!).toBeCloseTo((values(plain.state().params.w!)[i]! - start[i]!) / 4, 6);
    });
    await training.dispose();
    await plain.dispose();
  });
});

it.each([false, true])("stages draw by keys of their own, not by what the loss drops out by (accumulates: %s)", async (accumulates) => {
  const draw = (key: Tensor): Tensor => sum(randomUniform(key, [8]));
  const watch =
    (name: string) =>
    (gradients: Gradients, { key }: { readonly key: Tensor }) => ({ gradients, metrics: { [name]: draw(key) } });
  const training = await compileTraining({
    ...base(),
    loss: (p, b, context) => ({ ...base().loss(p, b, context), metrics: { dropout: draw(context.key) } }),
    each: watch("each"),
    gradients: [watch("stages")],
    accumulates,
  });
  const drawn: number[] = [];
  for (const key of [3, 4]) {
    const { dropout, each, stages } = await training.step([fixed], { lr: 0.1, step: 1, keys: [key] });
    drawn.push(dropout!, each!, stages!);
  }
  expect(new Set(drawn).size).toBe(6);
  await training.dispose();
});

describe("validation", () => {
  it("stops early and hands back the best state, not the last", async () => {
    const seen: number[] = [];
    // The measured value gets better until step 6 and worse from there.
    const measure = async (): Promise<{ loss: number }> => {
      seen.push(0);
      return { loss: Math.abs(seen.length * 2 - 6) };
    };
    const states: FitState["params"][] = [];
    const result = await fit({
      ...base(),
      rng: new Rng(1),
      lr: 0.01,
      steps: 100,
      batches: rowsOf,
      onStep: (_s, _v, snapshot) => {
        states.push(snapshot().params);
        return undefined;
      },
      validation: { every: 2, measure, metric: "loss", better: "lower", patience: 2 },
    });
    expect(result.best).toEqual({ step: 6, value: 0 });
    expect(result.steps).toBe(10);
    expect(result.params).toEqual(states[5]);
    expect(result.curves["valid.loss"]).toEqual([
      [1, 4],
      [3, 2],
      [5, 0],
      [7, 2],
      [9, 4],
    ]);
  });
});

describe("a validated fit that is stopped and goes on", () => {
  // Best at the first measurement, worse ever after.
  const options = (measured: (step: number) => number): FitOptions & Required<Pick<FitOptions, "validation">> => {
    let step = 0;
    return {
      ...base(),
      rng: new Rng(1),
      lr: 0.01,
      steps: 12,
      batches: rowsOf,
      progress: ({ done }: Progress) => {
        step = done;
      },
      validation: {
        every: 2,
        measure: async () => ({ loss: measured(step) }),
        metric: "loss",
        better: "lower" as const,
        patience: 4,
      },
    };
  };
  const store = (): Checkpoint & { saved?: CheckpointState } => {
    const own: Checkpoint & { saved?: CheckpointState } = {
      load: async () => own.saved,
      save: async (state) => {
        own.saved = state;
      },
    };
    return own;
  };

  it("remembers its best state and its patience", async () => {
    const unbroken = await fit(options((step) => step));
    expect({ best: unbroken.best, steps: unbroken.steps }).toEqual({ best: { step: 2, value: 2 }, steps: 10 });
    const checkpoint = store();
    const stop = new AbortController();
    const onStep = (done: number): undefined => {
      if (done === 7) stop.abort();
    };
    await expect(fit({ ...options((step) => step), onStep, checkpoint, signal: stop.signal })).rejects.toMatchObject({ code: "ABORTED" });
    const rest = await fit({ ...options((step) => step), checkpoint });
    expect({ best: rest.best, steps: rest.steps }).toEqual({ best: unbroken.best, steps: unbroken.steps });
    expect(rest.params).toEqual(unbroken.params);
  });

  it("goes on validated where it was not before, and the other way round", async () => {
    const { validation: _, ...plain } = options((step) => step);
    for (const [before, after] of [
      [plain, options((step) => step)],
      [options((step) => step), plain],
    ] as const) {
      const checkpoint = store();
      const stop = new AbortController();
      const onStep = (done: number): undefined => {
        if (done === 3) stop.abort();
      };
      await expect(fit({ ...before, onStep, checkpoint, signal: stop.signal })).rejects.toMatchObject({ code: "ABORTED" });
      const { steps, best } = await fit({ ...after, checkpoint });
      expect({ steps, best }).toEqual(after === plain ? { steps: 12 } : { steps: 12, best: { step: 4, value: 4 } });
    }
  });
});

describe("micro-batches", () => {
  it("that all weigh nothing change nothing but what decays by itself", async () => {
    const nothing = (): TrainingSpec => ({
      ...base(),
      optimizer: sgd(),
      loss: (p, b) => {
        const weight = sum(mul(b.y!, 0));
        return { loss: mul(meanSquaredError(linear(b.x!, p.w!, p.b!), b.y!), weight), weight };
      },
    });
    const training = await compileTraining({ ...nothing(), accumulates: true });
    const { loss } = await training.step([rows(2), rows(1)], inputs(1, 2));
    expect(loss).toBe(0);
    expect(values(training.state().params.w!)).toEqual(values(base().trainable.w!));
    await training.dispose();
  });

  it("show what a stage at each of them watches, as a step of one batch does", async () => {
    const spec = (): TrainingSpec => ({ ...base(), each: clipNorm(0.1) });
    const [one, two] = [await compileTraining(spec()), await compileTraining({ ...spec(), accumulates: true })];
    const batch = rows(3);
    const [a, b] = [await one.step([batch], inputs(1)), await two.step([batch, batch], inputs(1, 2))];
    expect(a.gradNorm).toBeGreaterThan(0.1);
    expect(b.gradNorm).toBeCloseTo(a.gradNorm!, 6);
    await one.dispose();
    await two.dispose();
  });
});
