import type { Prepared } from "../serve.js";
import { prepareWords } from "./search.js";

export const prepare = (): Promise<Prepared> => prepareWords();
