import { readFileSync } from "node:fs";
import { join } from "node:path";
import { type Delta, f32, type HostTensor, isLfmError, type Model, makeDelta, ortEngine, parseConfig, Rng, withDeltas } from "@lfm/core";
import { countingEngine } from "@lfm/core/testing";
import { readWeights } from "@lfm/formats";
import { createBatchGenerator, createGenerator, type Generated, modelFromConfig } from "@lfm/models";
import { describe, expect, it } from "vitest";
import { loraNames } from "./lora-hooks.js";
import { isPoolable, loraPool } from "./lora-pool.js";
import { ia3 } from "./methods/ia3.js";
import { lora } from "./methods/lora.js";
import { targetSites } from "./target-sites.js";

function golden(name: string): Model {
  const folder = join(import.meta.dirname, "../../models/test/golden", name);
  const config = JSON.parse(readFileSync(join(folder, "config.json"), "utf8")) as Record<string, unknown>;
  return modelFromConfig(config, readWeights(join(folder, "model.safetensors")).weights);
}

/** A LoRA that changes what the model says; of a site named in `ranks` another rank than r. */
function adapter(model: Model, seed: number, r: number, options: Readonly<Record<string, unknown>> = {}, low?: string): Delta {
  const config = parseConfig(lora, { r, loraAlpha: 2 * r, ...options });
  const rng = new Rng(seed);
  const tensors: Record<string, HostTensor> = {};
  for (const site of targetSites(model, config.targetModules)) {
    const { in: width, out } = site.weight!;
    const rank = low !== undefined && site.path.endsWith(low) ? 1 : r;
    tensors[loraNames(site).a] = f32(rng.normalArray(rank * width, 0.3), [rank, width]);
    tensors[loraNames(site).b] = f32(rng.normalArray(out * rank, 0.3), [out, rank]);
  }
  return makeDelta(lora, config, tensors);
}

describe.each(["llama", "gpt2"])("adapters of unequal ranks on one %s", (name) => {
  const model = golden(name);
  const targets = name === "llama" ? [["q", "v"], ["all-linear"], ["down_proj"]] : [["c_attn"], ["all-linear"], ["mlp.c_proj"]];
  const adapters = {
    small: adapter(model, 1, 2, { targetModules: targets[0] }),
    large: adapter(model, 2, 7, { targetModules: targets[1] }, name === "llama" ? "up_proj" : "c_fc"),
    root: adapter(model, 3, 4, { targetModules: targets[2], useRslora: true }),
    equal: adapter(model, 4, 2, { targetModules: targets[0] }),
  };
  const prompts = [[4, 8, 15, 16], [23], [42, 4, 8], [16, 15], [4, 8, 15, 16]];
  const routes = ["large", "small", undefined, "equal", "root"] as const;
  const o = { maxNewTokens: 10, logProbs: true };

  it("answer in one batch as each does alone, the base among them, in one session while they come and go", async () => {
    const own: Generated[] = [];
    const one = await ortEngine({ threads: 1 });
    for (const [i, prompt] of prompts.entries()) {
      const route = routes[i];
      const alone = await createGenerator(one, route ? withDeltas(model, [adapters[route]]) : model);
      own.push(await alone.generate(prompt, o));
      await alone.dispose();
    }
    expect(new Set([own[0], own[4]].map((g) => g!.tokens.join())).size).toBe(2);
    const engine = countingEngine(await ortEngine({ threads: 1 }));
    // No room for all of them at first, nor for the large one alone.
    const pool = loraPool(model, adapters, { ranks: 6 });
    const batch = await createBatchGenerator(engine, pool.model, { adapters: pool, slots: 5 });
    const check = (together: readonly Generated[], of: readonly number[]): void => {
      for (const [k, i] of of.entries()) {
        expect(together[k]!.tokens, `prompt ${i}`).toEqual(own[i]!.tokens);
        for (const [j, p] of together[k]!.logProbs!.entries()) expect(Math.abs(p - own[i]!.logProbs![j]!)).toBeLessThan(1e-4);
      }
    };
    for (const of of [[1], [3, 1], [0], [0, 1, 2, 3, 4], [4], [2, 0]])
      check(await Promise.all(of.map((i) => batch.generate(prompts[i]!, o, routes[i]))), of);
    expect(engine.counts.compiled).toBe(1);
    await batch.dispose();
  });
});

describe("the pool of adapters", () => {
  const model = golden("llama");

  it("takes LoRAs of linear layers alone, and says which one is more", () => {
    const plain = adapter(model, 1, 2);
    const moved = { "model.norm.weight": f32(new Float32Array(model.info.hiddenSize), [model.info.hiddenSize]) };
    const more = makeDelta(lora, parseConfig(lora, plain.config), { ...plain.tensors, ...moved });
    const other = makeDelta(ia3, parseConfig(ia3, {}), {});
    expect([plain, more, other].map((d) => isPoolable(d, model))).toEqual([true, false, false]);
    try {
      loraPool(model, { plain, more });
      expect.unreachable();
    } catch (error) {
      expect(isLfmError(error, "CAPABILITY_MISSING") && error.message).toContain('"more"');
    }
  });

  it("brings in what is asked for, and lets go what makes room for it", () => {
    const pool = loraPool(model, { a: adapter(model, 1, 4), b: adapter(model, 2, 4), c: adapter(model, 3, 4) }, { ranks: 8 });
    const owners = (values: Readonly<Record<string, HostTensor>> | undefined): number[] | undefined =>
      values && [...new Set(Array.from(values["adapters.owner"]!.data, Number))];
    expect(owners(pool.hold(new Set(["a"])))).toEqual([0, -2]);
    expect(owners(pool.hold(new Set(["b"])))).toEqual([0, 1]);
    expect(pool.hold(new Set(["a", "b"]))).toBeUndefined();
    expect(owners(pool.hold(new Set(["c", "b"])))).toEqual([2, 1]);
    expect(owners(pool.hold(new Set(["a", "b", "c"])))).toEqual([2, 1, 0, -2]);
  });
});
