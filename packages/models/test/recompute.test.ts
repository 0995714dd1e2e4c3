import {
  compile,
  type ForwardContext,
  grad,
  hostTensor,
  i32,
  liveness,
  type ModelInput,
  mean,
  ortEngine,
  type ParamTree,
  square,
  type Tensor,
} from "@lfm/core";
import { modelFromConfig } from "@lfm/models";
import { expect, it } from "vitest";
import { goldenFixture, maxDifference, maxMagnitude } from "./golden-fixture.js";

const tokens = i32(
  Array.from({ length: 64 }, (_, i) => (i * 7) % 90),
  [2, 32],
);

it.each(["gpt2", "llama", "qwen2", "mixtral", "gpt-neox", "gemma2", "bert-classifier"])(
  "%s with blocks computed again has the same gradients in less memory",
  async (name) => {
    const { config, weights } = goldenFixture(name);
    const model = modelFromConfig(config, weights);
    const params = Object.fromEntries(Object.entries(weights).map(([k, w]) => [k, "read" in w ? w.read() : w]));
    const trainable = Object.keys(params).filter((k) => model.info.params[k]?.trainable);
    const gradients = (context: Partial<ForwardContext>) => (given: { readonly tokens: Tensor; readonly params: ParamTree }) => {
      const input: ModelInput = { tokens: given.tokens };
      const { logits } = model.forward(given.params, input, { mode: "train", ...context });
      return grad(mean(square(logits!)), Object.fromEntries(trainable.map((k) => [k, given.params[k]!])));
    };
    const specs = {
      tokens: { dtype: "i32", shape: tokens.shape } as const,
      params: Object.fromEntries(Object.entries(params).map(([k, t]) => [k, { dtype: t.dtype, shape: t.shape }])),
    };
    const engine = await ortEngine({ threads: 1 });
    const [kept, again] = [await compile(engine, specs, gradients({})), await compile(engine, specs, gradients({ recompute: true }))];
    expect(liveness(again.graph).peak).toBeLessThan(0.8 * liveness(kept.graph).peak);
    const [expected, got] = [await kept({ tokens, params }), await again({ tokens, params })];
    for (const k of trainable) expect(maxDifference(got[k]!, expected[k]!), k).toBeLessThan(1e-6 * Math.max(1, maxMagnitude(expected[k]!)));
    await engine.dispose();
  },
);

it("blocks computed again drop the same elements, whose masks are not kept either", async () => {
  const { config, weights } = goldenFixture("gpt2");
  const model = modelFromConfig({ ...config, attn_pdrop: 0.2, resid_pdrop: 0.2, embd_pdrop: 0.2 }, weights);
  const params = Object.fromEntries(Object.entries(weights).map(([k, w]) => [k, "read" in w ? w.read() : w]));
  const specs = {
    tokens: { dtype: "i32", shape: tokens.shape } as const,
    key: { dtype: "i32", shape: [] } as const,
    params: Object.fromEntries(Object.entries(params).map(([k, t]) => [k, { dtype: t.dtype, shape: t.shape }])),
  };
  const gradients = (recompute: boolean) => (given: { readonly tokens: Tensor; readonly key: Tensor; readonly params: ParamTree }) => {
    const { logits } = model.forward(given.params, { tokens: given.tokens }, { mode: "train", key: given.key, recompute });
    return grad(mean(square(logits!)), given.params);
  };
  const engine = await ortEngine({ threads: 1 });
  const [kept, again] = [await compile(engine, specs, gradients(false)), await compile(engine, specs, gradients(true))];
  expect(liveness(again.graph).peak).toBeLessThan(0.7 * liveness(kept.graph).peak);
  const key = hostTensor("i32", [], Int32Array.of(4));
  const [expected, got] = [await kept({ tokens, key, params }), await again({ tokens, key, params })];
  for (const [k, g] of Object.entries(expected)) expect(maxDifference(got[k]!, g), k).toBeLessThan(1e-6 * Math.max(1, maxMagnitude(g)));
  await engine.dispose();
});
