import type { AnyMethod } from "@lfm/core";
import { maml } from "./maml.js";
import { protonet } from "./protonet.js";

/** Every meta-learning method. A new one is a file, a test, and a line here. */
export const metaMethods: readonly AnyMethod[] = [maml, protonet];
