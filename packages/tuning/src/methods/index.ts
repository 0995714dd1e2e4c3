import type { AnyTuningMethod } from "../define-tuning.js";
import { adapterFusion } from "./adapter-fusion.js";
import { bottleneck } from "./bottleneck.js";
import { compacter } from "./compacter.js";
import { full } from "./full.js";
import { ia3 } from "./ia3.js";
import { lora } from "./lora.js";
import { pTuning } from "./p-tuning.js";
import { prefix } from "./prefix.js";
import { prompt } from "./prompt.js";
import { vpt } from "./vpt.js";

/** Every tuning method. A new one is a file, a test, and a line here. */
export const tuningMethods: readonly AnyTuningMethod[] = [
  adapterFusion,
  bottleneck,
  compacter,
  full,
  ia3,
  lora,
  pTuning,
  prefix,
  prompt,
  vpt,
];
