import type { AnyMethod } from "@lfm/core";
import { calibratedLoss } from "./calibrated-loss.js";
import { deepWordBug } from "./deep-word-bug.js";
import { equationSolving } from "./equation-solving.js";
import { exposure } from "./exposure.js";
import { fgm } from "./fgm.js";
import { hotflip } from "./hotflip.js";
import { labelOnly } from "./label-only.js";
import { lira } from "./lira.js";
import { lossMembership } from "./loss.js";
import { pgd } from "./pgd.js";
import { rmia } from "./rmia.js";
import { textFooler } from "./text-fooler.js";

/** Every probe. A new one is a file, a test, and a line here. */
export const probeMethods: readonly AnyMethod[] = [
  lossMembership,
  calibratedLoss,
  lira,
  rmia,
  labelOnly,
  exposure,
  fgm,
  pgd,
  hotflip,
  textFooler,
  deepWordBug,
  equationSolving,
];
