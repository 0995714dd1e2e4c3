export {
  defaultOrders,
  noiseFor,
  type PrivacySpent,
  type PrivateSteps,
  poissonSample,
  privacySpent,
  renyiDivergence,
} from "./defences/accountant.js";
export type { Findings, Probe, ProbeOutput, Risk } from "./define-probe.js";
export {
  type LabelledTexts,
  type MembershipInputs,
  type ProbedExamples,
  probedInput,
  probedTextsInput,
  type ReferenceModel,
  referencesInput,
  type VictimInputs,
  victimBeforeInput,
  victimInput,
} from "./inputs.js";
export { calibratedLoss } from "./methods/calibrated-loss.js";
export { deepWordBug } from "./methods/deep-word-bug.js";
export { equationSolving } from "./methods/equation-solving.js";
export { exposure } from "./methods/exposure.js";
export { fgm } from "./methods/fgm.js";
export { hotflip } from "./methods/hotflip.js";
export { probeMethods } from "./methods/index.js";
export { labelOnly } from "./methods/label-only.js";
export { lira } from "./methods/lira.js";
export { lossMembership } from "./methods/loss.js";
export { pgd } from "./methods/pgd.js";
export { rmia } from "./methods/rmia.js";
export { textFooler } from "./methods/text-fooler.js";
export { type Share, shareOf } from "./statistics/binomial.js";
export {
  type AttackScores,
  allowsFpr,
  areaUnderRoc,
  type Interval,
  type RocPoint,
  rocCurve,
  type TprAtFpr,
  tprAtFpr,
} from "./statistics/roc.js";
export { neighbours } from "./text/neighbours.js";
export {
  attackTexts,
  type Constraint,
  changedAtMost,
  type Goal,
  misclassified,
  type Recipe,
  type Search,
  type Transformation,
} from "./text/recipe.js";
export { editsAtMost, typos } from "./text/typos.js";
