import type { AnyMethod } from "@lfm/core";
import { attentionTransfer } from "./attention-transfer.js";
import { bornAgain } from "./born-again.js";
import { crd } from "./crd.js";
import { dafl } from "./dafl.js";
import { deepInversion } from "./deep-inversion.js";
import { dfme } from "./dfme.js";
import { dkd } from "./dkd.js";
import { fitnets } from "./fitnets.js";
import { gkd } from "./gkd.js";
import { ideal } from "./ideal.js";
import { logitKd } from "./logit-kd.js";
import { minillm } from "./minillm.js";
import { minilm } from "./minilm.js";
import { pkt } from "./pkt.js";
import { rkd } from "./rkd.js";
import { seqKd } from "./seq-kd.js";
import { similarityPreserving } from "./similarity-preserving.js";
import { tinybert } from "./tinybert.js";
import { zskt } from "./zskt.js";

/** Every distillation method. A new one is a file, a test, and a line here. */
export const distillationMethods: readonly AnyMethod[] = [
  logitKd,
  dkd,
  fitnets,
  attentionTransfer,
  rkd,
  similarityPreserving,
  pkt,
  crd,
  bornAgain,
  minilm,
  tinybert,
  seqKd,
  gkd,
  minillm,
  deepInversion,
  dafl,
  zskt,
  ideal,
  dfme,
];
