import type { AnyMethod } from "@lfm/core";
import type { MergeMethod } from "../merging/merge-method.js";
import { adaMerging } from "./ada-merging.js";
import { arceeFusion } from "./arcee-fusion.js";
import { average } from "./average.js";
import { breadcrumbs } from "./breadcrumbs.js";
import { dare } from "./dare.js";
import { della } from "./della.js";
import { ensemble } from "./ensemble.js";
import { extractLora } from "./extract-lora.js";
import { fisher } from "./fisher.js";
import { karcher } from "./karcher.js";
import { loraHub } from "./lora-hub.js";
import { mergeLora } from "./merge-lora.js";
import { modelStock } from "./model-stock.js";
import { moeUpcycling } from "./moe-upcycling.js";
import { multislerp } from "./multislerp.js";
import { nearswap } from "./nearswap.js";
import { nuslerp } from "./nuslerp.js";
import { otFusion } from "./ot-fusion.js";
import { passthrough } from "./passthrough.js";
import { ram } from "./ram.js";
import { reBasin } from "./re-basin.js";
import { regmean } from "./regmean.js";
import { regmeanPlusPlus } from "./regmean-plus-plus.js";
import { sce } from "./sce.js";
import { slerp } from "./slerp.js";
import { smile } from "./smile.js";
import { greedySoup } from "./soups.js";
import { taskArithmetic } from "./task-arithmetic.js";
import { ties } from "./ties.js";
import { wemoe } from "./wemoe.js";
import { zipit } from "./zipit.js";

/** Every method that merges tensor by tensor, over files too. */
export const mergeMethods: readonly MergeMethod[] = [
  arceeFusion,
  average,
  breadcrumbs,
  dare,
  della,
  fisher,
  karcher,
  modelStock,
  multislerp,
  nearswap,
  nuslerp,
  passthrough,
  ram,
  regmean,
  sce,
  slerp,
  taskArithmetic,
  ties,
];

/** Every reuse method. A new one is a file, a test, and a line here or above. */
export const reuseMethods: readonly AnyMethod[] = [
  ...mergeMethods,
  adaMerging,
  ensemble,
  extractLora,
  greedySoup,
  loraHub,
  mergeLora,
  moeUpcycling,
  otFusion,
  reBasin,
  regmeanPlusPlus,
  smile,
  wemoe,
  zipit,
];
