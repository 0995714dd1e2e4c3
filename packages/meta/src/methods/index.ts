import type { AnyMetaMethod } from "../define-meta-method.js";
import { anil } from "./anil.js";
import { baselinePlusPlus } from "./baseline-plus-plus.js";
import { imaml } from "./imaml.js";
import { logisticRegression } from "./logistic-regression.js";
import { maml } from "./maml.js";
import { mamlPlusPlus } from "./maml-plus-plus.js";
import { matchingnet } from "./matchingnet.js";
import { metaCurvature } from "./meta-curvature.js";
import { metaSgd } from "./meta-sgd.js";
import { metaoptnet } from "./metaoptnet.js";
import { nearestCentroid } from "./nearest-centroid.js";
import { protonet } from "./protonet.js";
import { r2d2 } from "./r2d2.js";
import { relationnet } from "./relationnet.js";
import { reptile } from "./reptile.js";

/** Every meta-learning method. A new one is a file, a test, and a line here. */
export const metaMethods: readonly AnyMetaMethod[] = [
  maml,
  anil,
  metaSgd,
  mamlPlusPlus,
  metaCurvature,
  imaml,
  reptile,
  protonet,
  matchingnet,
  relationnet,
  r2d2,
  metaoptnet,
  nearestCentroid,
  logisticRegression,
  baselinePlusPlus,
];
