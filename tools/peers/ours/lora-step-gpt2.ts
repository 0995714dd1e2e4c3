import { gptLoraStep } from "../gpt-step.js";
import type { Prepared } from "../serve.js";

export const prepare = (): Promise<Prepared> => gptLoraStep(4, 128);
