import { ortEngine } from "@lfm/core";
import { loadModel } from "@lfm/models";
import { trainingStep } from "./gpt-step.js";
import { inBytes } from "./quantized.js";
import type { Prepared } from "./serve.js";

/**
 * LoRA on q_proj and v_proj of SmolLM2-135M, 4 × 128 tokens, the first `prompt` of each not predicted. LFM_SMOLLM2 names the folder.
 * @param base what the frozen weights are held in
 */
export async function smollmStep(prompt: number, base: "f32" | "int8" = "f32"): Promise<Prepared> {
  const loaded = await loadModel(process.env.LFM_SMOLLM2 ?? "");
  const model = base === "f32" ? loaded.model : await inBytes(await ortEngine(), loaded, "training");
  return trainingStep({ model, batch: 4, length: 128, prompt, lora: ["q_proj", "v_proj"] });
}
