import { type Delta, f32, type HostTensor, makeDelta, ortEngine, parseConfig, Rng, withDeltas } from "@lfm/core";
import { countingEngine } from "@lfm/core/testing";
import { chatPromptIds, createBatchGenerator, createGenerator, loadModel } from "@lfm/models";
import { initLora, lora, loraPool, targetSites } from "@lfm/tuning";
import { describe, expect, it } from "vitest";

const folder = process.env.LFM_SMOLLM2 ?? "";

describe.skipIf(folder === "")("a hundred LoRAs of SmolLM2-135M-Instruct (skipped without LFM_SMOLLM2)", () => {
  it("answer in one session, four in one batch each as alone, and come in within 10 ms", async () => {
    const { model, text } = await loadModel(folder);
    const config = parseConfig(lora, { r: 8, loraAlpha: 16, targetModules: ["q", "v"] });
    const sites = targetSites(model, config.targetModules);
    const adapter = (seed: number): Delta => {
      const rng = new Rng(seed);
      const moved = ([name, t]: readonly [string, HostTensor]): [string, HostTensor] =>
        name.endsWith("lora_B.weight") ? [name, f32(rng.normalArray(t.data.length, 0.02), t.shape)] : [name, t];
      return makeDelta(lora, config, Object.fromEntries(Object.entries(initLora(sites, config.r, rng)).map(moved)));
    };
    const adapters = Object.fromEntries(Array.from({ length: 100 }, (_, i) => [`a${i}`, adapter(i)]));
    const prompts = ["What is the capital of France?", "List three fruits.", "Write a line about the sea.", "Hi"].map((content) =>
      chatPromptIds(text!, [{ role: "user", content }]),
    );
    const engine = countingEngine(await ortEngine());
    const o = { maxNewTokens: 16, eos: text!.ends };
    const names = ["a3", "a97", "a50", "a0"];
    const alone = await createGenerator(engine, withDeltas(model, [adapters.a3!]));
    const own: number[][] = [];
    for (const [i, name] of names.entries()) {
      await alone.swap(withDeltas(model, [adapters[name]!]));
      own.push((await alone.generate(prompts[i]!, o)).tokens);
    }
    await alone.dispose();
    const before = engine.counts.compiled;
    const pool = loraPool(model, adapters);
    const times: number[] = [];
    const hold = (needed: ReadonlySet<string>): ReturnType<typeof pool.hold> => {
      const began = performance.now();
      const values = pool.hold(needed);
      if (values) times.push(performance.now() - began);
      return values;
    };
    const batch = await createBatchGenerator(engine, pool.model, { adapters: { ...pool, hold } });
    const together = await Promise.all(names.map((name, i) => batch.generate(prompts[i]!, o, name)));
    expect(together.map((g) => g.tokens)).toEqual(own);
    expect(new Set(own.map(String)).size).toBe(4);
    times.length = 0;
    await Promise.all(Object.keys(adapters).map((name) => batch.generate([1], { maxNewTokens: 2 }, name)));
    times.sort((a, b) => a - b);
    const p95 = times[Math.floor(0.95 * times.length)]!;
    console.log(`${times.length} changes of adapters: median ${times[times.length >> 1]!.toFixed(2)} ms, p95 ${p95.toFixed(2)} ms`);
    expect(engine.counts.compiled - before).toBe(1);
    expect(p95).toBeLessThan(10);
    await engine.dispose();
  });
});
