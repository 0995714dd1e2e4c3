import {
  add,
  compileModel,
  crossEntropy,
  f32,
  grad,
  type Hook,
  type HostTensor,
  i32,
  isLfmError,
  type Model,
  makeDelta,
  mul,
  ortEngine,
  replacedParameters,
  sum,
  trainableParams,
  weightOf,
  withDeltas,
} from "@lfm/core";
import { initWeights, modelFromConfig, quantizeBase } from "@lfm/models";
import { describe, expect, it } from "vitest";

const tiny = {
  model_type: "llama",
  vocab_size: 96,
  hidden_size: 64,
  intermediate_size: 128,
  num_hidden_layers: 2,
  num_attention_heads: 4,
  num_key_value_heads: 2,
  max_position_embeddings: 64,
  tie_word_embeddings: true,
};
const model = fresh(tiny);
const tokens = i32(
  Array.from({ length: 48 }, (_, i) => (i * 31 + 7) % 96),
  [2, 24],
);

/** Weights as wide as training makes them, and norms that let two columns through far larger than the others. */
function fresh(config: Readonly<Record<string, unknown>>): Model {
  const { info } = modelFromConfig(config);
  const weights = initWeights(info, { seed: 3 });
  const wide = Object.entries(weights).map(([name, t]): [string, HostTensor] => {
    const change = t.shape.length < 2 ? (v: number, i: number) => (i % 40 === 3 ? 8 * v : v) : (v: number) => v;
    return [name, f32((t.data as Float32Array).map(change), t.shape)];
  });
  return modelFromConfig(config, Object.fromEntries(wide));
}

async function answers(m: Model, hooks: readonly Hook[] = []): Promise<{ logits: HostTensor; gradient: HostTensor }> {
  const engine = await ortEngine({ threads: 1 });
  const shape = [2, 24];
  const f = await compileModel(
    engine,
    m,
    { tokens: { dtype: "i32", shape }, shift: { dtype: "f32", shape: [...shape, 64] } },
    ({ tokens, shift }, params, at) => {
      const put: Hook = { matches: (s) => s.kind === "embedding", output: (y) => add(y, shift) };
      const logits = at.forward(params, { tokens }, { mode: "eval", hooks: [put, ...hooks] }).logits!;
      return { logits, gradient: grad(crossEntropy(logits, tokens), shift) };
    },
  );
  const found = await f({ tokens, shift: f32(new Float32Array(2 * 24 * 64), [2, 24, 64]) });
  await engine.dispose();
  return found;
}

function cosine(a: HostTensor, b: HostTensor): number {
  const [x, y] = [a, b].map((t) => Array.from(t.data as Float32Array)) as [number[], number[]];
  const dot = (p: number[], q: number[]): number => p.reduce((s, v, i) => s + v * q[i]!, 0);
  return dot(x, y) / Math.sqrt(dot(x, x) * dot(y, y));
}

const engine = await ortEngine({ threads: 1 });
const trained = await quantizeBase(engine, model, { calibration: tokens, use: "training", outliers: 4 });
const used = await quantizeBase(engine, model, { calibration: tokens, outliers: 4 });

describe("a base in 8 bits", () => {
  it("answers as the model, and so do its gradients", async () => {
    const [plain, both, one] = [await answers(model), await answers(trained.model), await answers(used.model)];
    for (const found of [both, one]) {
      expect(cosine(found.logits, plain.logits)).toBeGreaterThan(0.999);
      expect(cosine(found.gradient, plain.gradient)).toBeGreaterThan(0.99);
    }
    expect(both.logits.data).not.toEqual(plain.logits.data);
  });

  it("loses more without its outlier columns", async () => {
    const without = await quantizeBase(engine, model, { outliers: 0 });
    const [plain, all, some] = [await answers(model), await answers(without.model), await answers(used.model)];
    expect(1 - cosine(all.logits, plain.logits)).toBeGreaterThan(2 * (1 - cosine(some.logits, plain.logits)));
  });

  it("takes little more than a quarter of the memory, and of layers before the head as much for training; a table that is the head counts once", () => {
    const parameters = Object.values(model.info.params).reduce((n, { shape }) => n + shape.reduce((a, b) => a * b, 1), 0);
    expect(trained.plainBytes).toBe(4 * parameters);
    const matrices = model.info.sites.flatMap((s) => (s.weight && s.kind !== "embedding" ? [s.weight.in * s.weight.out] : []));
    const codes = matrices.reduce((a, b) => a + b, 0);
    // Codes, four columns in f32, scales, masks and norms.
    expect(used.bytes).toBeGreaterThan(codes);
    expect(used.bytes).toBeLessThan(1.45 * codes);
    const head = 96 * 64;
    expect(trained.bytes - used.bytes).toBeGreaterThan(codes - head);
    expect(trained.bytes - used.bytes).toBeLessThan(1.4 * (codes - head));
  });

  it("is hooked as the model is", async () => {
    const twice: Hook = {
      matches: (s) => s.path.endsWith("layers.1.mlp.up_proj"),
      output: (y, x, _s, { weight }) => add(mul(y, 2), mul(sum(weight!), sum(mul(x, 0)))),
    };
    const [plain, quantized] = [await answers(model, [twice]), await answers(trained.model, [twice])];
    expect(cosine(quantized.logits, plain.logits)).toBeGreaterThan(0.999);
    expect(cosine(plain.logits, (await answers(model)).logits)).toBeLessThan(0.99999);
  });

  it("shows the weights that it multiplies by", () => {
    const name = "model.layers.0.mlp.down_proj.weight";
    const [own, given] = [weightOf(trained.model, name), weightOf(model, name)];
    expect(own.shape).toEqual(given.shape);
    expect(own.data).not.toEqual(given.data);
    expect(cosine(own, given)).toBeGreaterThan(0.9999);
    expect(weightOf(trained.model, "model.norm.weight")).toEqual(weightOf(model, "model.norm.weight"));
  });

  it("refuses by name what replaces or changes a weight that it holds", () => {
    const refusal = (act: () => unknown): unknown => {
      try {
        return act();
      } catch (error) {
        return error;
      }
    };
    const name = "model.layers.0.self_attn.q_proj.weight";
    const full = makeDelta({ id: "full", paradigm: "tuning", delta: replacedParameters }, {}, { [name]: weightOf(model, name) });
    const weight = (): readonly Hook[] => [{ matches: (s) => s.weight?.name === name, weight: (w) => mul(w, 2) }];
    const rome = makeDelta({ id: "rome", paradigm: "editing", delta: { hooks: weight } }, {}, { keys: f32([1]) });
    for (const [act, message] of [
      [() => withDeltas(trained.model, [full]), `tuning/full replaces "${name}"`],
      [() => withDeltas(trained.model, [rome]), 'editing/rome changes the weight of "model.layers.0.self_attn.q_proj"'],
      [() => trainableParams(trained.model), "cannot learn: this base holds it in fewer bits"],
    ] as const) {
      const error = refusal(act);
      expect(isLfmError(error, "CAPABILITY_MISSING")).toBe(true);
      expect(String(error)).toContain(message);
    }
    expect(
      withDeltas(trained.model, [
        makeDelta(
          { id: "norms", paradigm: "tuning", delta: replacedParameters },
          {},
          { "model.norm.weight": weightOf(model, "model.norm.weight") },
        ),
      ]).quantized,
    ).toBe(trained.model.quantized);
  });
});

it("a table that is no head is stored by itself, and layers of Conv1D lie the other way", async () => {
  const config = { model_type: "gpt2", vocab_size: 96, n_positions: 32, n_embd: 64, n_layer: 2, n_head: 4 };
  const gpt2 = fresh(config);
  const untied = fresh({ ...tiny, tie_word_embeddings: false });
  for (const m of [gpt2, untied]) {
    const q = await quantizeBase(engine, m, { calibration: tokens, outliers: 4, use: "training" });
    const [plain, found] = [await answers(m), await answers(q.model)];
    expect(cosine(found.logits, plain.logits)).toBeGreaterThan(0.999);
    expect(cosine(found.gradient, plain.gradient)).toBeGreaterThan(0.99);
  }
});

describe("a base in blocks", () => {
  it("answers as the model in 4 bits and for decoding", async () => {
    const plain = await answers(model);
    const [four, eight] = await Promise.all([
      quantizeBase(engine, model, { bits: 4, calibration: tokens }),
      quantizeBase(engine, model, { use: "decoding", calibration: tokens, outliers: 4 }),
    ]);
    const [found, decoded] = [await answers(four.model), await answers(eight.model)];
    expect(cosine(found.logits, plain.logits)).toBeGreaterThan(0.98);
    expect(cosine(decoded.logits, plain.logits)).toBeGreaterThan(0.999);
    expect(cosine(decoded.gradient, plain.gradient)).toBeGreaterThan(0.99);
    expect(four.bytes / four.plainBytes).toBeLessThan(0.2);
    expect(four.exact).toBe(0);
  });

  it("is the model where its weights lie on a grid of 4 bits", async () => {
    const four = await quantizeBase(engine, model, { bits: 4 });
    const onGrid: Model = {
      ...model,
      params: { ...model.params, ...Object.fromEntries(Object.entries(four.model.quantized!).map(([name, value]) => [name, value()])) },
    };
    const again = await quantizeBase(engine, onGrid, { bits: 4 });
    const [plain, found] = [await answers(onGrid), await answers(again.model)];
    expect(cosine(found.logits, plain.logits)).toBeGreaterThan(0.9999);
    expect(cosine(found.gradient, plain.gradient)).toBeGreaterThan(0.999);
  });
});
