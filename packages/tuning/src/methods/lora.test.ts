import { readFileSync } from "node:fs";
import { join } from "node:path";
import {
  type Engine,
  f32,
  type HostTensor,
  isLfmError,
  loadWeight,
  type MethodContext,
  type Model,
  makeDelta,
  ortEngine,
  parseConfig,
  plainWeights,
  Rng,
  runMethod,
  withDeltas,
} from "@lfm/core";
import { readSafetensors, readWeights } from "@lfm/formats";
import { createPredictor, initWeights, llama, modelFromConfig } from "@lfm/models";
import { languageModelTask } from "@lfm/train";
import { beforeAll, describe, expect, it } from "vitest";
import { initLora, loraNames } from "../lora-hooks.js";
import { targetSites } from "../target-sites.js";
import { lora } from "./lora.js";

let engine: Engine;
let context: MethodContext;
beforeAll(async () => {
  engine = await ortEngine({ threads: 1 });
  context = { engine, rng: new Rng(1), access: ["weights", "grad"], log: () => {}, progress: () => {} };
});

const worst = (a: HostTensor, b: HostTensor): number => {
  expect(a.shape).toEqual(b.shape);
  return Math.max(...Array.from(a.data, Number).map((v, i) => Math.abs(v - Number(b.data[i]))));
};
const golden = join(import.meta.dirname, "../../test/golden");

describe.each([
  ["llama", ["embed_tokens", "q_proj", "down_proj"]],
  ["gpt2", ["wte", "c_attn", "mlp.c_proj"]],
] as const)("five AdamW steps of DoRA on the small %s, the embedding too", (kind, targetModules) => {
  const { tensors } = readSafetensors(join(golden, `${kind}-dora/golden.safetensors`));
  const batches = readSafetensors(join(golden, `${kind}/golden.safetensors`)).tensors;
  const { losses } = JSON.parse(readFileSync(join(golden, `${kind}-dora/golden.json`), "utf8")) as { losses: { dora: number[] } };
  const {
    lr,
    weightDecay,
    lora: sizes,
  } = JSON.parse(readFileSync(join(golden, `${kind}/golden.json`), "utf8")) as {
    readonly lr: number;
    readonly weightDecay: number;
    readonly lora: { readonly r: number; readonly loraAlpha: number };
  };
  const modelFolder = join(import.meta.dirname, "../../../models/test/golden", kind);
  const model: Model = modelFromConfig(
    JSON.parse(readFileSync(join(modelFolder, "config.json"), "utf8")) as Record<string, unknown>,
    readWeights(join(modelFolder, "model.safetensors")).weights,
  );
  const all = (prefix: string): Record<string, HostTensor> =>
    Object.fromEntries(
      Object.entries(tensors).flatMap(([name, t]) => (name.startsWith(prefix) ? [[name.slice(prefix.length), loadWeight(t)]] : [])),
    );

  it("follows PEFT: losses, A, B and magnitudes; starts from its shapes and norms", async () => {
    const options = { ...sizes, targetModules: [...targetModules], useDora: true, steps: 5, lr, weightDecay, modelDropout: false };
    const task = languageModelTask("golden", (step) => ({
      tokens: loadWeight(batches[`batch.${step}/in/tokens`]!),
      weights: loadWeight(batches[`batch.${step}/in/weights`]!),
    }));
    const from = makeDelta(lora, parseConfig(lora, options), all("dora/in/"));
    const { delta, curves } = await runMethod(lora, { model, task, from }, options, context);
    curves.loss!.forEach(([, loss], i) => {
      expect(Math.abs(loss - losses.dora[i]!)).toBeLessThan(1e-4);
    });
    const end = all("dora/out/");
    expect(Object.keys(delta.tensors).sort()).toEqual(Object.keys(end).sort());
    for (const [name, t] of Object.entries(end)) expect(worst(delta.tensors[name]!, t), name).toBeLessThan(1e-4);
  });

  it("changes nothing before the first step, and is plain weights afterwards", async () => {
    const options = { ...sizes, targetModules: [...targetModules], useDora: true, steps: 1, lr: 1e-9, modelDropout: false };
    const task = languageModelTask("golden", () => ({
      tokens: loadWeight(batches["batch.0/in/tokens"]!),
      weights: loadWeight(batches["batch.0/in/weights"]!),
    }));
    const { delta } = await runMethod(lora, { model, task }, options, context);
    expect(Object.fromEntries(Object.entries(delta.tensors).map(([name, t]) => [name, t.shape]))).toEqual(
      Object.fromEntries(Object.entries(all("dora/in/")).map(([name, t]) => [name, t.shape])),
    );
    const layers = { ...options, targetModules: targetModules.slice(1) };
    const own = makeDelta(lora, parseConfig(lora, layers), withoutEmbedding(all("dora/out/")));
    const plain = { ...model, params: { ...model.params, ...(await plainWeights(engine, model, [own])) } };
    const answers = async (m: Model): Promise<readonly HostTensor[]> => {
      const predictor = await createPredictor(engine, m, "logits");
      const rows = await predictor.predict([[5, 9, 2, 7]]);
      await predictor.dispose();
      return rows;
    };
    const [base, fresh, trained, out] = [
      await answers(model),
      await answers(withDeltas(model, [delta])),
      await answers(withDeltas(model, [own])),
      await answers(plain),
    ];
    base.forEach((row, i) => {
      expect(worst(row, fresh[i]!)).toBeLessThan(1e-4);
      expect(worst(out[i]!, trained[i]!)).toBeLessThan(1e-4);
      expect(worst(row, trained[i]!)).toBeGreaterThan(1e-2);
    });
  });
});

/** A table that is the output layer too is no plain weight by itself. */
function withoutEmbedding(tensors: Readonly<Record<string, HostTensor>>): Record<string, HostTensor> {
  return Object.fromEntries(Object.entries(tensors).filter(([name]) => !/\.(wte|embed_tokens)\./.test(name)));
}

describe("bounds", () => {
  const sizes = { vocab_size: 23, hidden_size: 8, intermediate_size: 12, num_hidden_layers: 1, num_attention_heads: 2 };
  const model = llama(sizes, initWeights(llama(sizes).info, { seed: 3 }));

  it("a rank that no layer can have is refused before anything is made", () => {
    const start = performance.now();
    let error: unknown;
    try {
      initLora(targetSites(model, ["all-linear"]), 1_000_000, new Rng(0));
    } catch (e) {
      error = e;
    }
    expect(isLfmError(error, "CONFIG_INVALID"), String(error)).toBe(true);
    expect(performance.now() - start).toBeLessThan(1000);
  });

  it("an embedding is a target by its name, and no linear layer among all of them", () => {
    const sites = targetSites(model, ["embed_tokens"], ["embeddings"]);
    expect(sites.map((s) => s.path)).toEqual(["model.embed_tokens"]);
    expect(targetSites(model, ["all-linear"], ["embeddings"])).toEqual(targetSites(model, ["all-linear"]));
    const fresh = initLora(sites, 2, new Rng(0));
    const { a, b } = loraNames(sites[0]!);
    expect(fresh[a]).toEqual(f32(new Float32Array(2 * 23), [2, 23]));
    expect(fresh[b]!.shape).toEqual([8, 2]);
  });
});
