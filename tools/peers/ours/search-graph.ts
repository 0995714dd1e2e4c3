import type { Prepared } from "../serve.js";
import { prepareGraph } from "./search.js";

export const prepare = (): Promise<Prepared> => prepareGraph();
