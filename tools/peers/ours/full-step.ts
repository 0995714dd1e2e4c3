import { gptStep } from "../gpt-step.js";
import type { Prepared } from "../serve.js";

export const prepare = (): Promise<Prepared> =>
  gptStep({ mode: "full", width: 256, layers: 4, heads: 4, vocabulary: 2048, batch: 16, length: 128 });
