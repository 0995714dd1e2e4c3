import { loadModel } from "@lfm/models";
import { trainingStep } from "./gpt-step.js";
import type { Prepared } from "./serve.js";

/** LoRA on q_proj and v_proj of SmolLM2-135M, 4 × 128 tokens, the first `prompt` of each not predicted. LFM_SMOLLM2 names the folder. */
export async function smollmStep(prompt: number): Promise<Prepared> {
  const { model } = await loadModel(process.env.LFM_SMOLLM2 ?? "");
  return trainingStep({ model, batch: 4, length: 128, prompt, lora: ["q_proj", "v_proj"] });
}
