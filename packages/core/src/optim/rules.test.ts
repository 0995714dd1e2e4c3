import { readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { compile, compileStep } from "../compile.js";
import { f32, type HostTensor } from "../dtype.js";
import { ortEngine } from "../engines/ort.js";
import { sub } from "../ops/elementwise.js";
import type { Tensor } from "../tensor.js";
import type { Optimizer } from "./optimizer.js";
import { adafactor, adam, adamw, clipByGlobalNorm, lion, momentum, sgd } from "./rules.js";
import { scaledRates } from "./scaled-rates.js";
import { cosineSchedule, linearSchedule } from "./schedule.js";

type Values = Readonly<Record<string, readonly number[]>>;
interface Golden {
  readonly shapes: Readonly<Record<string, readonly number[]>>;
  readonly rates: readonly number[];
  readonly start: Values;
  readonly gradients: readonly Values[];
  readonly cases: Readonly<Record<string, { rule: string; options: object; after: readonly [Values, Values] }>>;
}
const golden = JSON.parse(readFileSync(new URL("../../test/golden/optimizers/golden.json", import.meta.url), "utf8")) as Golden;
const rules: Readonly<Record<string, (options: never) => Optimizer>> = { sgd, momentum, adam, adamw, adafactor, lion };
const tensors = (values: Values): Record<string, HostTensor> =>
  Object.fromEntries(Object.entries(values).map(([k, v]) => [k, f32(v, golden.shapes[k])]));

describe("update rules", () => {
  it.each(Object.entries(golden.cases))("%s follows torch to 1e-6", async (_name, { rule, options, after }) => {
    // Options stand in the golden file beside the name of the rule that takes them.
    const optimizer = rules[rule]!(options as never);
    const start = tensors(golden.start);
    const scalar = { dtype: "f32", shape: [] } as const;
    const step = await compileStep(await ortEngine({ threads: 1 }), {
      state: { params: start, slots: optimizer.init(start) },
      inputs: {
        grads: Object.fromEntries(Object.entries(start).map(([k, t]) => [k, { dtype: "f32" as const, shape: t.shape }])),
        lr: scalar,
        step: scalar,
      },
      step: ({ params, slots }, { grads, lr, step }) => {
        const next = optimizer.update(params, grads as Record<string, Tensor>, slots, { lr, step });
        return { state: { params: next.params, slots: next.state }, outputs: {} };
      },
    });
    for (const [i, rate] of golden.rates.entries()) {
      await step.run({ grads: tensors(golden.gradients[i]!), lr: f32([rate], []), step: f32([i + 1], []) });
      const expected = i === 0 ? after[0] : i === golden.rates.length - 1 ? after[1] : undefined;
      for (const [k, v] of Object.entries(expected ?? {}))
        for (const [j, x] of v.entries())
          expect(Math.abs((step.state().params[k]!.data[j] as number) - x), `${k}[${j}] after step ${i + 1}`).toBeLessThan(1e-6);
    }
    await step.dispose();
  });

  it("decay only the parameters they are told to", async () => {
    const optimizer = sgd({ weightDecay: 1, decays: (name) => name === "w" });
    const spec = { dtype: "f32", shape: [1] } as const;
    const f = await compile(await ortEngine({ threads: 1 }), { w: spec, b: spec }, (params) => {
      const zero = { w: params.w, b: params.b };
      const lr = params.w;
      return optimizer.update(zero, { w: nothing(params.w), b: nothing(params.b) }, {}, { lr, step: lr }).params;
    });
    const out = await f({ w: f32([0.5]), b: f32([0.5]) });
    expect([out.w!.data[0], out.b!.data[0]]).toEqual([0.25, 0.5]);
    await f.dispose();
  });

  it("learn at rates of their own: a factor of 4 is a learning rate four times as large, decay and moments included", async () => {
    const engine = await ortEngine({ threads: 1 });
    const start = { a: f32([1, -2]), b: f32([3, 0.5]) };
    const scalar = { dtype: "f32", shape: [] } as const;
    const after = async (optimizer: Optimizer, lr: number): Promise<Record<string, readonly number[]>> => {
      const step = await compileStep(engine, {
        state: { params: start, slots: optimizer.init(start) },
        inputs: { lr: scalar, step: scalar },
        step: ({ params, slots }, { lr, step }) => {
          const next = optimizer.update(params, params, slots, { lr, step });
          return { state: { params: next.params, slots: next.state }, outputs: {} };
        },
      });
      for (const i of [1, 2, 3]) await step.run({ lr: f32([lr], []), step: f32([i], []) });
      const { params } = step.state();
      await step.dispose();
      return Object.fromEntries(Object.entries(params).map(([k, t]) => [k, Array.from(t.data, Number)]));
    };
    const inner = adamw({ weightDecay: 0.1 });
    const [slow, fast] = [await after(inner, 0.01), await after(inner, 0.04)];
    const mixed = await after(
      scaledRates(inner, (name) => (name === "b" ? 4 : 1)),
      0.01,
    );
    expect(mixed.a).toEqual(slow.a);
    for (const [i, v] of fast.b!.entries()) expect(mixed.b![i]).toBeCloseTo(v, 6);
  });

  it("clip gradients together", async () => {
    const spec = { dtype: "f32", shape: [2] } as const;
    const f = await compile(await ortEngine({ threads: 1 }), { a: spec, b: spec }, (g) => clipByGlobalNorm(g, 1));
    const long = await f({ a: f32([3, 0]), b: f32([0, 4]) });
    expect(long.norm.data[0]).toBeCloseTo(5, 6);
    expect([...long.grads.a!.data, ...long.grads.b!.data].map((x) => Number((x as number).toFixed(5)))).toEqual([0.6, 0, 0, 0.8]);
    const short = await f({ a: f32([0.3, 0]), b: f32([0, 0.4]) });
    expect([...short.grads.a!.data]).toEqual([...f32([0.3, 0]).data]);
    await f.dispose();
  });
});

describe("schedules", () => {
  it("warm up, fall, and end at their floor", () => {
    const linear = linearSchedule(10);
    expect([0, 5, 10, 55, 100].map((s) => linear(s, 100))).toEqual([0, 0.5, 1, 0.5, 0]);
    const cosine = cosineSchedule(10, 0.1);
    expect([0, 5, 10, 55, 100, 200].map((s) => Number(cosine(s, 100).toFixed(6)))).toEqual([0, 0.5, 1, 0.55, 0.1, 0.1]);
  });
});

/** A gradient of zero that still is a tensor of the graph. */
function nothing(x: Tensor): Tensor {
  return sub(x, x);
}
