import { readFileSync } from "node:fs";
import { compile, f32, grad, type HostTensor, i32, mean, ortEngine, Rng, referenceEngine, type Site, type Tensor } from "@lfm/core";
import { mlp } from "@lfm/models";
import { arrayClassificationTask } from "@lfm/train";
import { describe, expect, it } from "vitest";
import { activationLoss, balanceLoss, batchNormHook, oneHotLoss, totalVariation } from "../src/generator-losses.js";
import { softTargetLoss } from "../src/losses/soft-targets.js";
import { logitKd } from "../src/methods/logit-kd.js";

interface Numbers {
  readonly shape: number[];
  readonly data: number[];
}

const read = <T>(name: string): T => JSON.parse(readFileSync(new URL(`golden/losses/${name}.json`, import.meta.url), "utf8")) as T;
const tensor = ({ shape, data }: Numbers): HostTensor => f32(data, shape);

/** Value and gradient of a scalar function of one tensor, on the f64 reference. */
async function valueAndGradient(x: Numbers, f: (x: Tensor) => Tensor): Promise<{ value: number; gradient: Numbers }> {
  const run = await compile(referenceEngine(), { x: { dtype: "f32", shape: x.shape } }, (i) => {
    const value = f(i.x);
    return { value, gradient: grad(value, i.x) };
  });
  const out = await run({ x: tensor(x) });
  return { value: Number(out.value.data[0]), gradient: { shape: [...out.gradient.shape], data: Array.from(out.gradient.data, Number) } };
}

function expectClose(got: Numbers, want: Numbers, tolerance = 1e-5): void {
  expect(got.shape).toEqual(want.shape);
  const scale = Math.max(...want.data.map(Math.abs));
  expect(Math.max(...got.data.map((v, i) => Math.abs(v - want.data[i]!)))).toBeLessThan(tolerance * scale);
}

const constant = (n: Numbers): HostTensor => tensor(n);

describe("soft targets", () => {
  const golden = read<{ teacher: Numbers; student: Numbers; cases: { temperature: number; loss: number; grad: Numbers }[] }>(
    "soft-targets",
  );

  const loss = async (teacher: Numbers, student: Numbers, temperature: number): Promise<{ value: number; gradient: Numbers }> => {
    const run = await compile(
      referenceEngine(),
      { t: { dtype: "f32", shape: teacher.shape }, s: { dtype: "f32", shape: student.shape } },
      ({ t, s }) => {
        const value = softTargetLoss(t, s, temperature);
        return { value, gradient: grad(value, s) };
      },
    );
    const out = await run({ t: constant(teacher), s: tensor(student) });
    return { value: Number(out.value.data[0]), gradient: { shape: [...out.gradient.shape], data: Array.from(out.gradient.data, Number) } };
  };

  it("T²·KL and its gradient are torch's kl_div (batchmean) at every temperature", async () => {
    for (const c of golden.cases) {
      const { value, gradient } = await loss(golden.teacher, golden.student, c.temperature);
      expect(value).toBeCloseTo(c.loss, 4);
      expectClose(gradient, c.grad);
    }
  });

  it("a hand-worked case: p = (3/4, 1/4), q = (1/2, 1/2), T = 1 and 2", async () => {
    const one = (data: number[]): Numbers => ({ shape: [1, data.length], data });
    const t = one([Math.log(3), 0]);
    const uniform = one([0, 0]);
    expect((await loss(t, uniform, 1)).value).toBeCloseTo(0.75 * Math.log(1.5) + 0.25 * Math.log(0.5), 5);
    const p = Math.sqrt(3) / (Math.sqrt(3) + 1);
    expect((await loss(t, uniform, 2)).value).toBeCloseTo(4 * (p * Math.log(2 * p) + (1 - p) * Math.log(2 - 2 * p)), 5);
  });

  it("is 0 for equal logits, never negative, and tends to Σ(difference of centred logits)²/2C as T grows", async () => {
    expect((await loss(golden.teacher, golden.teacher, 3)).value).toBeCloseTo(0, 6);
    const rng = new Rng(1);
    for (let i = 0; i < 20; i++) {
      const draw = (): Numbers => ({ shape: [3, 4], data: Array.from(rng.normalArray(12, 3)) });
      expect((await loss(draw(), draw(), 1 + 3 * rng.uniform())).value).toBeGreaterThanOrEqual(0);
    }
    const centred = ({ data }: Numbers, row: number): number[] => {
      const z = data.slice(row * 5, row * 5 + 5);
      const m = z.reduce((a, b) => a + b, 0) / 5;
      return z.map((v) => v - m);
    };
    const limit =
      Array.from(
        { length: 6 },
        (_, r) => centred(golden.teacher, r).reduce((a, v, k) => a + (v - centred(golden.student, r)[k]!) ** 2, 0) / 10,
      ).reduce((a, b) => a + b, 0) / 6;
    expect((await loss(golden.teacher, golden.student, 500)).value / limit).toBeCloseTo(1, 1);
  });
});

describe("what the generator is asked for", () => {
  const golden = read<{
    logits: Numbers;
    features: Numbers;
    loss: Record<"oneHot" | "balance" | "activation", number>;
    grad: Record<"oneHot" | "balance" | "activation", Numbers>;
    batchNorm: { x: Numbers; mean: Numbers; variance: Numbers; loss: number; grad: Numbers };
  }>("generator-losses");

  it.each([
    ["oneHot", oneHotLoss, "logits"],
    ["balance", balanceLoss, "logits"],
    ["activation", activationLoss, "features"],
  ] as const)("%s and its gradient are torch's", async (name, f, of) => {
    const { value, gradient } = await valueAndGradient(golden[of], f);
    expect(value).toBeCloseTo(golden.loss[name], 5);
    expectClose(gradient, golden.grad[name]);
  });

  it("balance: 0 where the classes are even, log(classes) where there is one", async () => {
    const even = { shape: [3, 3], data: [50, 0, 0, 0, 50, 0, 0, 0, 50] };
    const one = { shape: [3, 3], data: [50, 0, 0, 50, 0, 0, 50, 0, 0] };
    expect((await valueAndGradient(even, balanceLoss)).value).toBeCloseTo(0, 5);
    expect((await valueAndGradient(one, balanceLoss)).value).toBeCloseTo(Math.log(3), 5);
  });

  it("total variation: neighbours 1, 3 and 2, 2 below them", async () => {
    const { value } = await valueAndGradient({ shape: [1, 1, 2, 2], data: [1, 3, 2, 2] }, totalVariation);
    // Down: (1, −1), to the right: (2, 0).
    expect(value).toBeCloseTo((1 + 1) / 2 + (4 + 0) / 2, 6);
  });

  it("distance to running statistics, with its gradient", async () => {
    const { x, mean: mu, variance: v, loss, grad: want } = golden.batchNorm;
    const site: Site = { path: "bn", kind: "norm" };
    const run = await compile(
      referenceEngine(),
      { x: { dtype: "f32", shape: x.shape }, mu: { dtype: "f32", shape: [2] }, v: { dtype: "f32", shape: [2] } },
      (i) => {
        const into: Tensor[] = [];
        const hook = batchNormHook((s) => (s.path === "bn" ? { mean: i.mu, variance: i.v } : undefined), into);
        expect([hook.matches(site), hook.matches({ ...site, path: "other" }), hook.matches({ ...site, kind: "conv" })]).toEqual([
          true,
          false,
          false,
        ]);
        const passed = hook.input!(i.x, site, { mode: "eval" });
        expect(passed).toBe(i.x);
        return { loss: into[0]!, gradient: grad(into[0]!, i.x), untouched: mean(passed) };
      },
    );
    const out = await run({ x: tensor(x), mu: constant(mu), v: constant(v) });
    expect(Number(out.loss.data[0])).toBeCloseTo(loss, 5);
    expectClose({ shape: [...out.gradient.shape], data: Array.from(out.gradient.data, Number) }, want);
  });
});

it("five steps of logit distillation are torch's, parameter by parameter", async () => {
  const golden = read<{
    teacher: Record<string, Numbers>;
    student: Record<string, Numbers>;
    x: Numbers;
    labels: number[];
    losses: number[];
    learned: Record<string, Numbers>;
  }>("kd-run");
  const model = (hidden: number, params: Record<string, Numbers>): ReturnType<typeof mlp> =>
    mlp(
      { input_size: 4, hidden_sizes: [hidden], output_size: 3 },
      Object.fromEntries(Object.entries(params).map(([name, n]) => [name, tensor(n)])),
    );
  const task = arrayClassificationTask("golden", "features", [4], (step) => ({
    x: f32(golden.x.data.slice(32 * step, 32 * step + 32), [8, 4]),
    labels: i32(golden.labels.slice(8 * step, 8 * step + 8)),
  }));
  const output = await logitKd.run(
    { teacher: model(12, golden.teacher), student: model(6, golden.student), task },
    { temperature: 3, kdWeight: 0.7, steps: 5, lr: 1e-2, weightDecay: 0.01, accumulate: 1 },
    { engine: await ortEngine({ threads: 1 }), rng: new Rng(1), access: [], log: () => {}, progress: () => {} },
  );
  output.curves.loss!.forEach(([, loss], i) => {
    expect(loss).toBeCloseTo(golden.losses[i]!, 4);
  });
  for (const [name, want] of Object.entries(golden.learned)) {
    const got = output.delta.tensors[name]!;
    expectClose({ shape: [...got.shape], data: Array.from(got.data, Number) }, want, 1e-4);
  }
});
