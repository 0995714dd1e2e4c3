import { gptStep } from "../gpt-step.js";
import type { Prepared } from "../serve.js";

export const prepare = (): Promise<Prepared> =>
  gptStep({ mode: "lora", width: 768, layers: 12, heads: 12, vocabulary: 50257, batch: 4, length: 128 });
