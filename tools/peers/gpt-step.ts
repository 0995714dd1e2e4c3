import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { adamw, crossEntropy, type Model, ortEngine, Rng, slice, type Tensor } from "@lfm/core";
import { loadModel, modelFromConfig, saveModel } from "@lfm/models";
import { fit, trainableParams } from "@lfm/train";
import { initLora, loraHooks, targetSites } from "@lfm/tuning";
import type { Prepared } from "./serve.js";
import { filled, filledParams, tokenBatch } from "./weights.js";

export interface GptStep {
  readonly mode: "full" | "lora";
  readonly width: number;
  readonly layers: number;
  readonly heads: number;
  readonly vocabulary: number;
  readonly batch: number;
  readonly length: number;
}

/** One training step a repetition, through the fit loop that every method uses: each step waits until it is asked for. */
export async function gptStep(o: GptStep): Promise<Prepared> {
  const config = {
    model_type: "gpt2",
    vocab_size: o.vocabulary,
    n_positions: Math.max(128, o.length),
    n_embd: o.width,
    n_layer: o.layers,
    n_head: o.heads,
  };
  const made = modelFromConfig(config, filledParams(modelFromConfig(config).info));
  const model = o.mode === "lora" ? await throughFile(made) : made;
  const adapter = { r: 8, loraAlpha: 8, useRslora: false, loraDropout: 0 };
  const lora = initLora(targetSites(model, ["c_attn"]), adapter.r, new Rng(0));
  const trainable =
    o.mode === "full" ? trainableParams(model) : Object.fromEntries(Object.entries(lora).map(([name, t]) => [name, filled(name, t.shape)]));
  const frozen = Object.fromEntries(Object.entries(model.params).filter(([name]) => !(name in trainable)));
  const asked: (() => void)[] = [];
  const answered: ((loss: number) => void)[] = [];
  const shape = [o.batch, o.length];
  const running = fit({
    engine: await ortEngine({ threads: Number(process.env.LFM_THREADS ?? 2) }),
    trainable,
    frozen,
    batch: { tokens: { dtype: "i32", shape } },
    batches: async (step) => {
      if (step >= 2) await new Promise<void>((resolve) => asked.push(resolve));
      return { tokens: tokenBatch(step, o.batch, o.length, o.vocabulary) };
    },
    loss: (params, { tokens }) => {
      const hooks = o.mode === "lora" ? loraHooks(Object.fromEntries(Object.keys(trainable).map((n) => [n, params[n]!])), adapter) : [];
      const { logits } = model.forward(params, { tokens: tokens as Tensor }, { mode: "train", hooks });
      return { loss: crossEntropy(slice(logits!, 1, 0, o.length - 1), slice(tokens as Tensor, 1, 1, o.length - 1)) };
    },
    optimizer: adamw(),
    lr: 1e-4,
    steps: Number.MAX_SAFE_INTEGER,
    rng: new Rng(0),
    onStep: (step, values) => {
      if (step <= 2) ready(step);
      else answered.shift()!(values.loss!);
      return undefined;
    },
  });
  let ready: (step: number) => void = () => {};
  await Promise.race([running, new Promise<void>((resolve) => (ready = (step) => step === 2 && resolve()))]);
  return {
    repeat: () =>
      new Promise((resolve) => {
        answered.push(resolve);
        const go = (): void => {
          const next = asked.shift();
          if (next) next();
          else setImmediate(go);
        };
        go();
      }),
  };
}

/** The model as a user has it: loaded from a folder, so that frozen weights are read from their file by the engine. */
async function throughFile(model: Model): Promise<Model> {
  const folder = mkdtempSync(join(tmpdir(), "lfm-peer-"));
  process.once("exit", () => rmSync(folder, { recursive: true, force: true }));
  await saveModel(folder, model);
  return (await loadModel(folder)).model;
}
