import type { AnyMethod } from "@lfm/core";
import { anil } from "./anil.js";
import { imaml } from "./imaml.js";
import { maml } from "./maml.js";
import { mamlPlusPlus } from "./maml-plus-plus.js";
import { metaCurvature } from "./meta-curvature.js";
import { metaSgd } from "./meta-sgd.js";
import { protonet } from "./protonet.js";
import { reptile } from "./reptile.js";

/** Every meta-learning method. A new one is a file, a test, and a line here. */
export const metaMethods: readonly AnyMethod[] = [maml, anil, metaSgd, mamlPlusPlus, metaCurvature, imaml, reptile, protonet];
