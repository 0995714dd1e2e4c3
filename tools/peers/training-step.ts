import { adamw, f32, type HostTensor, type Model, Rng, trainableParams } from "@lfm/core";
import { fit, languageModeling, scoredLoss, scoredPositions } from "@lfm/train";
import { type AnyTuningMethod, ia3, lora, prefix, prompt } from "@lfm/tuning";
import { peerEngine } from "./engine.js";
import type { Prepared } from "./serve.js";
import { filled, tokenBatch } from "./weights.js";

export const steppedMethods = ["full", "lora", "dora", "ia3", "prefix", "prompt"] as const;
export type SteppedMethod = (typeof steppedMethods)[number];

export interface TrainingStep {
  readonly model: Model;
  readonly method: SteppedMethod;
  readonly batch: number;
  readonly length: number;
  /** Tokens at the front of every sequence that are not predicted. */
  readonly prompt: number;
}

/** Method and options as theirs/tuning_step.py has them; all parameters learn in the full step, which needs none. */
function chosen(name: SteppedMethod, { info }: Model): readonly [AnyTuningMethod, object] | undefined {
  const fused = info.architecture === "gpt2";
  const attention = fused ? ["c_attn"] : ["q_proj", "v_proj"];
  const inner = fused ? ["mlp.c_proj"] : ["down_proj"];
  switch (name) {
    case "full":
      return undefined;
    case "lora":
    case "dora":
      return [lora, { r: 8, loraAlpha: 8, targetModules: attention, useDora: name === "dora" }];
    case "ia3":
      return [ia3, { targetModules: fused ? attention : ["k_proj", "v_proj"], feedforwardModules: inner }];
    case "prefix":
      return [prefix, { numVirtualTokens: 20 }];
    case "prompt":
      return [prompt, { numVirtualTokens: 20, init: "random" }];
  }
}

/** One training step a repetition, through the fit loop that every method uses: each step waits until it is asked for. */
export async function trainingStep({ model, method: name, batch, length, prompt }: TrainingStep): Promise<Prepared> {
  const engine = await peerEngine();
  const task = languageModeling("peer");
  const [method, given] = chosen(name, model) ?? [];
  const config: unknown = method?.config.parse(given);
  const context = { engine, rng: new Rng(0), access: ["weights", "grad"] as const, log: () => {}, progress: () => {} };
  const fresh = method?.start?.({ model, task: { ...task, batches: () => ({}) } }, config, context).learned;
  // What begins by chance is what the other side has, too.
  const drawn = (tensor: string): boolean => tensor.includes("lora_A") || tensor.includes("lora_B") || tensor === "prompt_embeddings";
  const trainable: Readonly<Record<string, HostTensor>> = fresh
    ? Object.fromEntries(Object.entries(fresh).map(([tensor, t]) => [tensor, drawn(tensor) ? filled(tensor, t.shape) : t]))
    : trainableParams(model);
  const frozen = Object.fromEntries(Object.entries(model.params).filter(([tensor]) => !(tensor in trainable)));
  const asked: (() => void)[] = [];
  const answered: ((loss: number) => void)[] = [];
  const shape = [batch, length];
  const weights = f32(
    Float32Array.from({ length: batch * length }, (_, i) => (i % length >= prompt ? 1 : 0)),
    shape,
  );
  const running = fit({
    engine,
    trainable,
    frozen,
    batch: { ...task.batch, tokens: { dtype: "i32", shape }, weights: { dtype: "f32", shape } },
    batches: async (step) => {
      if (step >= 2) await new Promise<void>((resolve) => asked.push(resolve));
      return { tokens: tokenBatch(step, batch, length, model.info.vocabSize!), weights, scored: scoredPositions(weights) };
    },
    loss: (params, batch) => {
      const learned = Object.fromEntries(Object.keys(trainable).map((tensor) => [tensor, params[tensor]!]));
      const hooks = method?.delta.hooks?.(config, learned, []) ?? [];
      const out = model.forward(params, task.input(batch), { mode: "train", hooks: [...hooks, ...(task.hooks?.(batch) ?? [])] });
      return scoredLoss(task.scored(out, batch));
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
