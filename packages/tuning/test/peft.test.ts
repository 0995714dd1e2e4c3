import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import {
  type Delta,
  type Engine,
  f32,
  type HostTensor,
  i32,
  isLfmError,
  type MethodContext,
  plainWeights,
  Rng,
  runMethod,
} from "@lfm/core";
import { type PeftConfigInput, readPeftAdapter, writePeftAdapter } from "@lfm/formats";
import { gpt2, initWeights, llama } from "@lfm/models";
import { languageModelTask } from "@lfm/train";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { bottleneck, fromPeft, lora, prompt, toPeft } from "../src/index.js";
import { testContext } from "./test-context.js";

const sizes = { vocab_size: 23, hidden_size: 8, intermediate_size: 12, num_hidden_layers: 2, num_attention_heads: 2 };
const small = llama(sizes, initWeights(llama(sizes).info, { seed: 3 }));
const other = gpt2({ vocab_size: 23, n_embd: 8, n_layer: 1, n_head: 2, n_positions: 16 });
const task = languageModelTask("count up", () => ({
  tokens: i32(
    Array.from({ length: 12 }, (_, i) => i),
    [2, 6],
  ),
  weights: f32(new Float32Array(12).fill(1), [2, 6]),
}));
const folder = mkdtempSync(join(tmpdir(), "lfm-peft-"));
let engine: Engine;
let context: MethodContext;
beforeAll(async () => {
  context = await testContext();
  engine = context.engine;
});
afterAll(() => rmSync(folder, { recursive: true }));

const there = async (delta: Delta, name: string, model = small): Promise<Delta> => {
  await toPeft(join(folder, name), delta, model);
  return fromPeft(join(folder, name), model, delta.parent === null ? {} : { parent: delta.parent });
};
const code = (f: () => unknown): Promise<string> =>
  Promise.resolve()
    .then(f)
    .then(
      () => "nothing thrown",
      (error: unknown) => (isLfmError(error) ? error.code : String(error)),
    );

describe("PEFT files", () => {
  it.each([
    ["lora", lora, { r: 3, loraAlpha: 12, useRslora: true, targetModules: ["q", "v"] }],
    ["prompt", prompt, { numVirtualTokens: 4 }],
  ] as const)("%s goes there and back without losing a bit", async (name, method, options) => {
    const inputs = { model: small, task, parent: "abc" };
    const { delta } = await runMethod(method as typeof lora, inputs, { steps: 2, ...options } as never, context);
    const back = await there(delta, name);
    expect({ method: back.method, parent: back.parent }).toEqual({ method: delta.method, parent: "abc" });
    expect(Object.keys(back.tensors).sort()).toEqual(Object.keys(delta.tensors).sort());
    for (const [k, t] of Object.entries(delta.tensors)) expect(back.tensors[k], k).toEqual(t);
    for (const [k, v] of Object.entries(options)) if (k !== "targetModules") expect(back.config[k]).toEqual(v);
  });

  it("GPT-2 says that its weights lie the other way round; a head trained in full is a module to save", async () => {
    const model = { ...other, params: initWeights(other.info, { seed: 1 }) };
    const inputs = { model, task, alsoTrain: ["transformer.ln_f.weight", "transformer.ln_f.bias"] };
    const { delta } = await runMethod(lora, inputs, { steps: 1, targetModules: ["c_attn"] }, context);
    const back = await there(delta, "gpt2", model);
    expect(readPeftAdapter(join(folder, "gpt2")).config).toMatchObject({
      fan_in_fan_out: true,
      modules_to_save: ["transformer.ln_f"],
      task_type: "CAUSAL_LM",
    });
    expect(back.tensors["transformer.ln_f.bias"]).toEqual(delta.tensors["transformer.ln_f.bias"]);
  });

  it("ranks and scales that differ by layer mean the same ΔW", async () => {
    const [q, v] = ["model.layers.0.self_attn.q_proj", "model.layers.1.self_attn.v_proj"];
    const rng = new Rng(4);
    const tensors = {
      [`${q}.lora_A.weight`]: f32(rng.normalArray(16), [2, 8]),
      [`${q}.lora_B.weight`]: f32(rng.normalArray(16), [8, 2]),
      [`${v}.lora_A.weight`]: f32(rng.normalArray(32), [4, 8]),
      [`${v}.lora_B.weight`]: f32(rng.normalArray(32), [8, 4]),
    };
    const config = { peft_type: "LORA", r: 2, lora_alpha: 2, rank_pattern: { v_proj: 4 }, alpha_pattern: { v_proj: 12 } } as const;
    await writePeftAdapter(join(folder, "patterns"), { config, tensors });
    const read = fromPeft(join(folder, "patterns"), small);
    const merged = await plainWeights(engine, small, [read]);
    // Written again they are an adapter that means the same.
    await toPeft(join(folder, "patterns-again"), read, small);
    const again = await plainWeights(engine, small, [fromPeft(join(folder, "patterns-again"), small)]);
    expect(Object.keys(again).sort()).toEqual(Object.keys(merged).sort());
    for (const [name, t] of Object.entries(merged))
      for (const [i, x] of again[name]!.data.entries()) expect(Number(x)).toBeCloseTo(Number(t.data[i]), 5);
    // q: α/r = 1; v: 12/4 = 3.
    for (const [path, r, scale] of [
      [q, 2, 1],
      [v, 4, 3],
    ] as const) {
      const base = small.params[`${path}.weight`] as { data: Float32Array };
      const [a, b] = [tensors[`${path}.lora_A.weight`]!.data, tensors[`${path}.lora_B.weight`]!.data];
      let ba = 0;
      for (let k = 0; k < r; k++) ba += Number(b[5 * r + k]) * Number(a[k * 8 + 2]);
      expect(Number(merged[`${path}.weight`]!.data[5 * 8 + 2]) - base.data[5 * 8 + 2]!).toBeCloseTo(scale * ba, 5);
    }
  });

  it("an output layer that is the embedding comes as a second copy of it, or with a matrix of its own", async () => {
    const config = { ...sizes, tie_word_embeddings: true };
    const tied = llama(config, initWeights(llama(config).info, { seed: 3 }));
    const embedding = f32(new Rng(7).normalArray(23 * 8), [23, 8]);
    const other = f32(new Rng(8).normalArray(23 * 8), [23, 8]);
    const path = "model.layers.0.self_attn.q_proj";
    const read = async (modules: Readonly<Record<string, HostTensor>>): Promise<Delta["tensors"]> => {
      const config: PeftConfigInput = {
        peft_type: "LORA",
        r: 1,
        target_modules: [path],
        modules_to_save: Object.keys(modules).map((name) => name.slice(0, -".weight".length)),
      };
      const lora = {
        [`${path}.lora_A.weight`]: f32(new Float32Array(8), [1, 8]),
        [`${path}.lora_B.weight`]: f32(new Float32Array(8), [8, 1]),
      };
      await writePeftAdapter(join(folder, "tied"), { config, tensors: { ...lora, ...modules } });
      return fromPeft(join(folder, "tied"), tied).tensors;
    };
    const names = ["model.embed_tokens.weight", "lm_head.weight"] as const;
    const one = await read({ [names[0]]: embedding, [names[1]]: embedding });
    expect(one[names[0]]).toEqual(embedding);
    expect(Object.keys(one)).not.toContain(names[1]);
    const two = await read({ [names[0]]: embedding, [names[1]]: other });
    expect([two[names[0]], two[names[1]]]).toEqual([embedding, other]);
    // What was trained alone leaves the other one as it was.
    const alone = await read({ [names[0]]: embedding });
    expect(alone[names[1]]).toEqual(tied.params[names[0]]);
    const written = fromPeft(join(folder, "tied"), tied);
    await toPeft(join(folder, "tied-again"), written, tied);
    expect(fromPeft(join(folder, "tied-again"), tied).tensors).toEqual(written.tensors);
  });

  it("refuses what it does not understand and what is of another model", async () => {
    const { delta } = await runMethod(lora, { model: small, task }, { steps: 1 }, context);
    const { delta: adapters } = await runMethod(bottleneck, { model: small, task }, { steps: 1 }, context);
    expect(await code(() => toPeft(join(folder, "no"), adapters, small))).toBe("CONFIG_INVALID");
    await toPeft(join(folder, "mine"), delta, small);
    expect(await code(() => fromPeft(join(folder, "mine"), other))).toBe("PARAM_NOT_FOUND");
    expect(await code(() => fromPeft(join(folder, "mine"), llama({ ...sizes, hidden_size: 16 })))).toBe("SHAPE_MISMATCH");
    await writePeftAdapter(join(folder, "hra"), { config: { peft_type: "HRA" }, tensors: {} });
    expect(await code(() => fromPeft(join(folder, "hra"), small))).toBe("OP_UNSUPPORTED");
    const { config, tensors } = readPeftAdapter(join(folder, "mine"));
    await writePeftAdapter(join(folder, "dora"), { config: { ...config, use_dora: true } as never, tensors });
    expect(["FILE_FORMAT", "OP_UNSUPPORTED"]).toContain(await code(() => fromPeft(join(folder, "dora"), small)));
  });
});
