import type { Prepared } from "../serve.js";
import { prepareFlat } from "./search.js";

export const prepare = (): Promise<Prepared> => prepareFlat(64);
