import { ortEngine } from "@lfm/core";
import { loadModel } from "@lfm/models";
import { inBytes } from "../quantized.js";
import type { Prepared } from "../serve.js";
import { type SteppedMethod, trainingStep } from "../training-step.js";

/** As theirs/tuning_step.py: method, batch, length, tokens that are not predicted; then what the base is held in. */
export async function prepare(method: string, batch: string, length: string, prompt: string, base = "f32"): Promise<Prepared> {
  const loaded = await loadModel(process.env.LFM_PEER_MODEL ?? process.env.LFM_SMOLLM2 ?? "");
  const model = base === "f32" ? loaded.model : await inBytes(await ortEngine(), loaded, "training");
  return trainingStep({ model, method: method as SteppedMethod, batch: Number(batch), length: Number(length), prompt: Number(prompt) });
}
