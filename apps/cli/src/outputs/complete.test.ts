import { isLfmError, ortEngine, Rng } from "@lfm/core";
import { countingEngine } from "@lfm/core/testing";
import { initWeights, modelFromConfig } from "@lfm/models";
import { expect, it } from "vitest";
import { completeAll } from "./complete.js";

const config = {
  vocab_size: 40,
  hidden_size: 16,
  intermediate_size: 24,
  num_hidden_layers: 1,
  num_attention_heads: 2,
  model_type: "llama",
};
const model = modelFromConfig(config, initWeights(modelFromConfig(config).info, { seed: 4 }));
const asked = Array.from({ length: 7 }, (_, i) => ({
  ids: Array.from({ length: 1 + (i % 3) }, (_, k) => (7 * i + k) % 40),
  options: { maxNewTokens: 3 + i, temperature: i % 2, rng: new Rng(5).split(i) },
}));

it("prompts that go together get what each gets alone, drawn tokens too, and every end is told", async () => {
  const engine = countingEngine(await ortEngine({ threads: 1 }));
  const fresh = asked.map(({ ids, options }, i) => ({ ids, options: { ...options, rng: new Rng(5).split(i) } }));
  let ends = 0;
  const together = await completeAll(engine, model, fresh, { count: 3, onEnd: () => ends++ });
  const alone = await completeAll(engine, model, asked, { count: 1 });
  expect(together).toEqual(alone);
  expect(together.map((tokens) => tokens.length)).toEqual([3, 4, 5, 6, 7, 8, 9]);
  expect([ends, engine.counts.released]).toEqual([7, engine.counts.compiled]);
});

it("beams go one prompt at a time, and a stop ends all", async () => {
  const engine = await ortEngine({ threads: 1 });
  const search = asked.slice(0, 2).map(({ ids }) => ({ ids, options: { maxNewTokens: 3, beams: 2 } }));
  expect(await completeAll(engine, model, search, { count: 3 })).toHaveLength(2);
  const stopped = await completeAll(engine, model, asked, { count: 3, signal: AbortSignal.abort() }).catch((e: unknown) => e);
  expect(isLfmError(stopped, "ABORTED"), String(stopped)).toBe(true);
});
