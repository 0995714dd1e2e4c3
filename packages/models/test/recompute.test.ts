import {
  compile,
  type ForwardContext,
  grad,
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

it.each(["gpt2", "llama", "qwen2", "mixtral", "bert-classifier"])(
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
