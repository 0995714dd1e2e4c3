import type { Prepared } from "../serve.js";
import { smollmStep } from "../smollm-step.js";

export const prepare = (): Promise<Prepared> => smollmStep(0, "int8");
