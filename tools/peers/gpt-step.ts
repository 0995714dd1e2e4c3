import { adamw, f32, type Model, Rng, trainableParams } from "@lfm/core";
import { loadModel } from "@lfm/models";
import { fit, languageModeling, scoredLoss, scoredPositions } from "@lfm/train";
import { initLora, loraHooks, targetSites } from "@lfm/tuning";
import { peerEngine } from "./engine.js";
import type { Prepared } from "./serve.js";
import { filled, tokenBatch } from "./weights.js";

/** LoRA on c_attn of the GPT-2-shaped model in the folder LFM_PEER_MODEL. */
export async function gptLoraStep(batch: number, length: number): Promise<Prepared> {
  const { model } = await loadModel(process.env.LFM_PEER_MODEL ?? "");
  return trainingStep({ model, batch, length, prompt: 0, lora: ["c_attn"] });
}

/** All of the GPT-2-shaped model in the folder LFM_PEER_MODEL. */
export async function gptFullStep(batch: number, length: number): Promise<Prepared> {
  const { model } = await loadModel(process.env.LFM_PEER_MODEL ?? "");
  return trainingStep({ model, batch, length, prompt: 0 });
}

export interface TrainingStep {
  readonly model: Model;
  readonly batch: number;
  readonly length: number;
  /** Tokens at the front of every sequence that are not predicted. */
  readonly prompt: number;
  /** Layers that get a LoRA of rank 8; without it all parameters learn. */
  readonly lora?: readonly string[];
}

/** One training step a repetition, through the fit loop that every method uses: each step waits until it is asked for. */
export async function trainingStep({ model, batch, length, prompt, lora }: TrainingStep): Promise<Prepared> {
  const adapter = { r: 8, loraAlpha: 8, useRslora: false, loraDropout: 0 };
  const drawn = lora && initLora(targetSites(model, [...lora]), adapter.r, new Rng(0));
  const trainable = drawn
    ? Object.fromEntries(Object.entries(drawn).map(([name, t]) => [name, filled(name, t.shape)]))
    : trainableParams(model);
  const frozen = Object.fromEntries(Object.entries(model.params).filter(([name]) => !(name in trainable)));
  const asked: (() => void)[] = [];
  const answered: ((loss: number) => void)[] = [];
  const shape = [batch, length];
  const weights = f32(
    Float32Array.from({ length: batch * length }, (_, i) => (i % length >= prompt ? 1 : 0)),
    shape,
  );
  const engine = await peerEngine();
  const task = languageModeling("peer");
  const running = fit({
    engine,
    trainable,
    frozen,
    batch: { ...task.batch, tokens: { dtype: "i32", shape }, weights: { dtype: "f32", shape } },
    batches: async (step) => {
      if (step >= 2) await new Promise<void>((resolve) => asked.push(resolve));
      return { tokens: tokenBatch(step, batch, length, model.info.vocabSize!), weights, scored: scoredPositions(weights) };
    },
    loss: (params, given) => {
      const adapters = drawn ? loraHooks(Object.fromEntries(Object.keys(trainable).map((n) => [n, params[n]!])), adapter) : [];
      const out = model.forward(params, task.input(given), { mode: "train", hooks: [...adapters, ...(task.hooks?.(given) ?? [])] });
      return scoredLoss(task.scored(out, given));
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
    engine,
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
