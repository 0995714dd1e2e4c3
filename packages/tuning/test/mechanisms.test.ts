import {
  abs,
  add,
  compile,
  convertFloat,
  type Delta,
  type Engine,
  f32,
  greaterEqual,
  type HostTensor,
  i32,
  linear,
  log,
  logSoftmax,
  type MethodContext,
  type Model,
  matmul,
  mean,
  mul,
  neg,
  oneHot,
  type ParamTree,
  Rng,
  runMethod,
  sigmoid,
  slice,
  sub,
  sum,
  sym,
  type Tensor,
  where,
  widenToF32,
  withDeltas,
} from "@lfm/core";
import { convnet, initWeights, llama, mlp } from "@lfm/models";
import { arrayClassificationTask, defineTask, languageModelTask, withBatches } from "@lfm/train";
import { beforeAll, describe, expect, it } from "vitest";
import { z } from "zod";
import { defineTuning, full, lora, prompt, trainingFields } from "../src/index.js";
import { testContext } from "./test-context.js";

const config = { vocab_size: 13, hidden_size: 8, intermediate_size: 12, num_hidden_layers: 2, num_attention_heads: 2 };
const model = llama(config, initWeights(llama(config).info, { seed: 3, embeddingStd: 0.5 }));
const task = languageModelTask("count up", (n) => ({
  tokens: i32(
    Array.from({ length: 12 }, (_, i) => (i + n) % 13),
    [2, 6],
  ),
  weights: f32(new Float32Array(12).fill(1), [2, 6]),
}));
let engine: Engine;
let context: MethodContext;
beforeAll(async () => {
  context = await testContext();
  engine = context.engine;
});
const paper = { title: "of this test", url: "https://example.org", year: 2026 };

async function logits(m: Model, input: "tokens" | "pixels" | "features", x: HostTensor): Promise<number[]> {
  const f = await compile(
    engine,
    { x: { dtype: x.dtype, shape: x.shape } },
    (i, params: ParamTree) => ({ y: m.forward(params, { [input]: i.x }, { mode: "eval" }).logits! }),
    { frozen: m.params },
  );
  const { y } = await f({ x });
  await f.dispose();
  return Array.from(y.data, Number);
}

describe("a budget of ranks, as AdaLoRA's (arXiv 2303.10512)", () => {
  const sites = model.info.sites.filter((s) => s.role === "q" || s.role === "v");
  const [RANK, KEPT, WARM] = [4, 6, 4];
  const singular = sites.map((s) => `${s.path}.E`);
  const toy = defineTuning({
    id: "toy-adalora",
    summary: "Triplets P·E·Q whose least important singular values are pruned to a budget while training.",
    paper,
    config: z.strictObject({ ...trainingFields(1e-3) }),
    delta: {
      hooks: (_c, t) => [
        {
          matches: (site) => `${site.path}.E` in t,
          output: (y, x, { path }) =>
            add(y, linear(mul(linear(x, t[`${path}.Q`]!, undefined), t[`${path}.E`]!), t[`${path}.P`]!, undefined)),
        },
      ],
    },
    training: (c) => c,
    start: (_inputs, _c, { rng }) => ({
      learned: Object.fromEntries(
        sites.flatMap(({ path, weight }) => [
          [`${path}.P`, f32(rng.split(`${path}.P`).normalArray(weight!.out * RANK, 0.3), [weight!.out, RANK])],
          [`${path}.Q`, f32(rng.split(`${path}.Q`).normalArray(weight!.in * RANK, 0.3), [RANK, weight!.in])],
          [`${path}.E`, f32(rng.split(`${path}.E`).normalArray(RANK, 0.1), [RANK])],
        ]),
      ),
    }),
    stages: () => ({
      carry: Object.fromEntries(singular.map((name) => [name, f32(new Float32Array(RANK))])),
      // Sensitivity |w·∂L/∂w|, smoothed over the steps.
      gradients: [
        (gradients, { params, carry }) => ({
          gradients,
          carry: Object.fromEntries(
            singular.map((name) => [name, add(mul(carry[name]!, 0.85), mul(abs(mul(params[name]!, gradients[name]!)), 0.15))]),
          ),
        }),
      ],
      // After the warm-up those below the budget's threshold are put to 0: a score is kept where fewer than KEPT others are larger.
      project: (params, { carry, step }) => {
        const all = singular.map((name) => carry[name]!);
        const rankOf = (score: Tensor): Tensor =>
          all
            .flatMap((other) =>
              Array.from({ length: RANK }, (_, i) => {
                const one = slice(other, 0, i, 1);
                return where(greaterEqual(one, score), 1, 0);
              }),
            )
            .reduce((a, b) => add(a, b));
        const pruned = singular.map((name) => {
          const keep = where(greaterEqual(KEPT, rankOf(carry[name]!)), params[name]!, 0);
          return [name, where(greaterEqual(step, WARM), keep, params[name]!)];
        });
        return { params: { ...params, ...Object.fromEntries(pruned) } };
      },
    }),
    // What is pruned does not travel.
    finish: (learned) => ({
      tensors: Object.fromEntries(
        sites.flatMap(({ path, weight }) => {
          const e = Array.from(learned[`${path}.E`]!.data, Number);
          const alive = e.flatMap((v, i) => (v === 0 ? [] : [i]));
          const [p, q] = [learned[`${path}.P`]!.data, learned[`${path}.Q`]!.data];
          const { in: width, out } = weight!;
          if (alive.length === 0) return [];
          return [
            [`${path}.E`, f32(alive.map((i) => e[i]!))],
            [
              `${path}.P`,
              f32(Array.from({ length: out }, (_, o) => alive.map((i) => Number(p[o * RANK + i]))).flat(), [out, alive.length]),
            ],
            [
              `${path}.Q`,
              f32(
                alive.flatMap((i) => Array.from({ length: width }, (_, j) => Number(q[i * width + j]))),
                [alive.length, width],
              ),
            ],
          ];
        }),
      ),
    }),
  });

  it("is kept inside the compiled step, and the pruned delta answers as the trained model", async () => {
    const { delta, curves } = await runMethod(toy, { model, task }, { steps: 8, lr: 0.02 }, context);
    const ranks = Object.entries(delta.tensors).filter(([name]) => name.endsWith(".E"));
    expect(ranks.reduce((n, [, t]) => n + t.data.length, 0)).toBe(KEPT);
    expect(ranks.some(([, t]) => t.data.length < RANK)).toBe(true);
    const values = curves.loss!.map(([, v]) => v);
    expect(values.at(-1)!).toBeLessThan(values[0]!);
    const x = i32([1, 2, 3, 4, 5], [1, 5]);
    expect(await logits(withDeltas(model, [delta]), "tokens", x)).not.toEqual(await logits(model, "tokens", x));
  });
});

it("a reparametrisation learns and does not travel: what is saved answers as what was trained", async () => {
  // A prompt that is a linear map of learned seeds; the delta is an ordinary prompt.
  const V = 3;
  const toy = defineTuning({
    id: "toy-reparametrised",
    summary: "A prompt that is learned through a linear map.",
    paper,
    config: z.strictObject({ ...trainingFields(1e-3) }),
    delta: { hooks: (_c, t) => prompt.delta.hooks(prompt.config.parse({ numVirtualTokens: V }), t, []) },
    training: (c) => c,
    start: (_inputs, _c, { rng }) => ({
      learned: { seeds: f32(rng.normalArray(V * 4), [V, 4]), map: f32(rng.normalArray(32, 0.2), [4, 8]) },
    }),
    express: (_c, { seeds, map }) => ({ prompt_embeddings: matmul(seeds!, map!) }),
  });
  const { delta, curves } = await runMethod(toy, { model, task }, { steps: 6, lr: 0.05 }, context);
  expect(Object.entries(delta.tensors).map(([name, t]) => [name, t.shape])).toEqual([["prompt_embeddings", [V, 8]]]);
  const losses = curves.loss!.map(([, v]) => v);
  expect(losses.at(-1)!).toBeLessThan(losses[0]!);
});

it("a composite asks for members: their tensors travel with it, frozen, and its hooks use theirs", async () => {
  const members = await Promise.all(
    [2, 3].map(
      async (seed) => (await runMethod(lora, { model, task }, { steps: 3, lr: 0.05, r: 2 }, { ...context, rng: new Rng(seed) })).delta,
    ),
  );
  const toy = defineTuning({
    id: "toy-fusion",
    summary: "Mixes what members change, one learned weight each.",
    paper,
    config: z.strictObject({ ...trainingFields(1e-3) }),
    delta: {
      hooks: (_c, t, hooksOf) =>
        hooksOf.flatMap((own, i) =>
          own.map((h) => ({
            matches: h.matches,
            output: (y, x, site, seen) => add(y, mul(sub(h.output!(y, x, site, seen), y), slice(t.mix!, 0, i, 1))),
          })),
        ),
    },
    training: (c) => c,
    start: () => ({ learned: { mix: f32([0, 0]) } }),
  });
  const { delta } = await runMethod(
    toy,
    { model, task, members: { first: members[0]!, second: members[1]! } },
    { steps: 5, lr: 0.1 },
    context,
  );
  expect([...delta.frozen].sort()).toEqual(
    Object.keys(delta.tensors)
      .filter((name) => name !== "mix")
      .sort(),
  );
  for (const [name, t] of Object.entries(members[1]!.tensors)) expect(delta.tensors[`members.1.${name}`], name).toBe(t);
  expect(Array.from(delta.tensors.mix!.data, Number).every((v) => v !== 0)).toBe(true);
});

it("DPO's loss asks the base: −log σ(β·((log π − log π₀)(chosen) − (log π − log π₀)(rejected))) (arXiv 2305.18290, equation 7)", async () => {
  const BETA = 0.5;
  const shape = [sym("batch"), sym("seq")];
  const preference = withBatches(
    defineTask({
      name: "preference",
      batch: { chosen: { dtype: "i32", shape }, rejected: { dtype: "i32", shape } },
      input: (b) => ({ tokens: b.chosen! }),
      scored: (out, b) => ({ logits: out.logits!, targets: b.chosen! }),
      loss: (forward, b) => {
        const logp = (l: Tensor, tokens: Tensor): Tensor => {
          const [own, next] = [slice(logSoftmax(l), 1, 0, 5), slice(tokens, 1, 1, 5)];
          return sum(sum(mul(own, oneHot(next, 13)), -1), -1);
        };
        const gain = (tokens: Tensor): Tensor =>
          sub(logp(forward({ tokens }).logits!, tokens), logp(forward.base({ tokens }).logits!, tokens));
        return { loss: mean(neg(log(sigmoid(mul(sub(gain(b.chosen!), gain(b.rejected!)), BETA))))) };
      },
    }),
    () => ({ chosen: i32([1, 2, 3, 4, 5, 6], [1, 6]), rejected: i32([1, 2, 3, 9, 9, 9], [1, 6]) }),
  );
  for (const method of [lora, full]) {
    const { curves, model: tuned } = await runMethod(method, { model, task: preference }, { steps: 12, lr: 0.02 }, context);
    const losses = curves.loss!.map(([, v]) => v);
    // Before the first step model and base are one: −log σ(0).
    expect(losses[0]).toBeCloseTo(Math.log(2), 5);
    expect(losses.at(-1)!).toBeLessThan(0.3);
    const [a, b] = [await logits(tuned, "tokens", i32([1, 2, 3], [1, 3])), await logits(model, "tokens", i32([1, 2, 3], [1, 3]))];
    expect(a[2 * 13 + 4]! - a[2 * 13 + 9]!, method.id).toBeGreaterThan(b[2 * 13 + 4]! - b[2 * 13 + 9]!);
  }
});

describe("buffers are part of what is learned", () => {
  // Two classes of images that differ in brightness; running statistics of a fresh net are 0 and 1.
  const size = { image_size: 4, widths: [4], classes: 2 };
  const net = convnet(size, initWeights(convnet(size).info, { seed: 4 }));
  const draw = (n: number): { x: HostTensor; labels: HostTensor } => {
    const rng = new Rng(n);
    const labels = Array.from({ length: 32 }, (_, i) => i % 2);
    return {
      x: f32(
        rng.normalArray(32 * 16).map((v, i) => 5 + v + (labels[Math.floor(i / 16)] === 1 ? 4 : 0)),
        [32, 1, 4, 4],
      ),
      labels: i32(labels),
    };
  };
  const bright = arrayClassificationTask("brightness", "pixels", [1, 4, 4], draw);

  it.each([full, lora])("$id on a batch-norm net answers in eval mode as well as it learned", async (method) => {
    const head = ["classifier.weight", "classifier.bias"].filter((n) => n in net.params);
    const options = method === lora ? { targetModules: ["classifier"], r: 2 } : {};
    const { delta, model: tuned } = await runMethod(
      method as typeof lora,
      { model: net, task: bright, ...(method === lora ? { alsoTrain: head.slice(1) } : {}) },
      { steps: 120, lr: 0.02, ...options },
      context,
    );
    expect(Object.keys(delta.tensors)).toContain("features.0.norm.running_mean");
    const { x, labels } = draw(999);
    const answers = await logits(tuned, "pixels", x);
    const right = Array.from(labels.data, Number).filter((k, i) => answers[2 * i + k]! > answers[2 * i + 1 - k]!).length;
    expect(right / 32).toBeGreaterThan(0.95);
  });
});

it("learns on buffers that lie in 16 bits", async () => {
  const size = { channels: 1, image_size: 4, widths: [4], classes: 2 };
  const wide = initWeights(convnet(size).info, { seed: 4 }) as Record<string, HostTensor>;
  const net = convnet(size, Object.fromEntries(Object.entries(wide).map(([name, t]) => [name, convertFloat(t, "f16")])));
  const batch = { x: f32(new Rng(1).normalArray(64), [4, 1, 4, 4]), labels: i32([0, 1, 0, 1]) };
  const { delta } = await runMethod(
    full,
    { model: net, task: arrayClassificationTask("noise", "pixels", [1, 4, 4], () => batch) },
    { steps: 2 },
    context,
  );
  expect(delta.tensors["features.0.norm.running_mean"]!.dtype).toBe("f32");
});

it("goes on from a delta, and refuses one of other options", async () => {
  const options = { steps: 3, lr: 0.05, r: 2, optimizer: "sgd" as const };
  const whole = await runMethod(lora, { model, task }, { ...options, steps: 6 }, context);
  const first = await runMethod(lora, { model, task }, options, context);
  const later = { ...task, batches: (n: number) => task.batches(n + 3) };
  const second = await runMethod(lora, { model, task: later, from: first.delta }, options, context);
  for (const [name, t] of Object.entries(whole.delta.tensors))
    Array.from(t.data, Number).forEach((v, i) => {
      expect(v).toBeCloseTo(Number(second.delta.tensors[name]!.data[i]), 5);
    });
  await expect(runMethod(lora, { model, task, from: first.delta }, { ...options, r: 3 }, context)).rejects.toThrow(
    /cannot go on from this delta/,
  );
});

it("epochs of finite examples; an endless task has none", async () => {
  const small = mlp({ input_size: 2, hidden_sizes: [], output_size: 2 });
  const base: Model = { ...small, params: initWeights(small.info, { seed: 1 }) };
  const batch = { x: f32([1, 2, -1, -2], [2, 2]), labels: i32([0, 1]) };
  const finite = arrayClassificationTask("sign", "features", [2], () => batch, 5);
  const { curves } = await runMethod(full, { model: base, task: finite }, { epochs: 2, accumulate: 2, lr: 0.1 }, context);
  expect(curves.loss!.length).toBe(5);
  await expect(runMethod(full, { model: base, task: { ...finite, perEpoch: undefined } as never }, { epochs: 2 }, context)).rejects.toThrow(
    /an epoch cannot be counted/,
  );
});

describe("a delta to go on from", () => {
  const options = { steps: 3, lr: 0.05, r: 2, optimizer: "sgd" as const };
  const head = ["lm_head.weight", "model.norm.weight"];
  const later = { ...task, batches: (n: number) => task.batches(n + 3) };
  const close = (a: HostTensor, b: HostTensor, what: string): void => {
    for (const [i, v] of Array.from(a.data, Number).entries()) expect(Number(b.data[i]), what).toBeCloseTo(v, 5);
  };

  it("brings what it had trained in full, whether that learns again or not", async () => {
    const whole = await runMethod(lora, { model, task, alsoTrain: head }, { ...options, steps: 6 }, context);
    const first = await runMethod(lora, { model, task, alsoTrain: head }, options, context);
    const second = await runMethod(lora, { model, task: later, alsoTrain: head, from: first.delta }, options, context);
    for (const [name, t] of Object.entries(whole.delta.tensors)) close(t, second.delta.tensors[name]!, name);
    const without = await runMethod(lora, { model, task: later, from: first.delta }, options, context);
    for (const name of head) expect(without.delta.tensors[name]!.data, name).toEqual(first.delta.tensors[name]!.data);
    expect(without.curves.loss![0]![1]).toBeCloseTo(second.curves.loss![0]![1], 5);
  });

  it("is refused where it has more than is asked for", async () => {
    const first = await runMethod(lora, { model, task }, options, context);
    await expect(runMethod(lora, { model, task, from: first.delta }, { ...options, targetModules: ["q"] }, context)).rejects.toMatchObject({
      code: "PARENT_MISMATCH",
    });
  });

  it("may be saved in 16 bits", async () => {
    const first = await runMethod(lora, { model, task }, options, context);
    const with16 = (change: (t: HostTensor) => HostTensor): Delta => ({
      ...first.delta,
      tensors: Object.fromEntries(Object.entries(first.delta.tensors).map(([name, t]) => [name, change(convertFloat(t, "bf16"))])),
    });
    const narrow = await runMethod(lora, { model, task: later, from: with16((t) => t) }, options, context);
    const wide = await runMethod(lora, { model, task: later, from: with16(widenToF32) }, options, context);
    expect(narrow.delta.tensors).toEqual(wide.delta.tensors);
  });

  it("brings the buffers that its training has moved", async () => {
    const size = { channels: 1, image_size: 4, widths: [4], classes: 2 };
    const net = convnet(size, initWeights(convnet(size).info, { seed: 4 }));
    const pictures = arrayClassificationTask("noise", "pixels", [1, 4, 4], (n) => ({
      x: f32(
        new Rng(n).normalArray(8 * 16).map((v) => v + 5),
        [8, 1, 4, 4],
      ),
      labels: i32([0, 1, 0, 1, 0, 1, 0, 1]),
    }));
    const own = { ...options, targetModules: ["classifier"] };
    const whole = await runMethod(lora, { model: net, task: pictures }, { ...own, steps: 6 }, context);
    const first = await runMethod(lora, { model: net, task: pictures }, own, context);
    const second = await runMethod(
      lora,
      { model: net, task: { ...pictures, batches: (n) => pictures.batches(n + 3) }, from: first.delta },
      own,
      context,
    );
    const name = "features.0.norm.running_mean";
    close(whole.delta.tensors[name]!, second.delta.tensors[name]!, name);
  });
});
