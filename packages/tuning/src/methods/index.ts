import type { AnyTuningMethod } from "../define-tuning.js";
import { adalora } from "./adalora.js";
import { adapterFusion } from "./adapter-fusion.js";
import { autoprompt } from "./autoprompt.js";
import { bitfit } from "./bitfit.js";
import { blackBox } from "./black-box.js";
import { boft } from "./boft.js";
import { bottleneck } from "./bottleneck.js";
import { compacter } from "./compacter.js";
import { full } from "./full.js";
import { ia3 } from "./ia3.js";
import { inContext } from "./in-context.js";
import { linearProbe } from "./linear-probe.js";
import { lnTuning } from "./ln-tuning.js";
import { loha } from "./loha.js";
import { lokr } from "./lokr.js";
import { lora } from "./lora.js";
import { lpFt } from "./lp-ft.js";
import { oft } from "./oft.js";
import { pTuning } from "./p-tuning.js";
import { prefix } from "./prefix.js";
import { prompt } from "./prompt.js";
import { vera } from "./vera.js";
import { vpt } from "./vpt.js";

/** Every tuning method. A new one is a file, a test, and a line here. */
export const tuningMethods: readonly AnyTuningMethod[] = [
  adalora,
  adapterFusion,
  bitfit,
  boft,
  autoprompt,
  blackBox,
  bottleneck,
  compacter,
  full,
  ia3,
  inContext,
  linearProbe,
  lnTuning,
  loha,
  lokr,
  lora,
  lpFt,
  oft,
  prefix,
  prompt,
  pTuning,
  vera,
  vpt,
];
