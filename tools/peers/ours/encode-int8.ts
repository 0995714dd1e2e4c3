import type { Prepared } from "../serve.js";
import { prepareEncoder } from "./encode.js";

export const prepare = (): Promise<Prepared> => prepareEncoder("int8");
