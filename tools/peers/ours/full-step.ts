import { gptFullStep } from "../gpt-step.js";
import type { Prepared } from "../serve.js";

export const prepare = (): Promise<Prepared> => gptFullStep(16, 128);
