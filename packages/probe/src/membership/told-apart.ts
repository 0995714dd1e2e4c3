import type { MethodContext } from "@lfm/core";
import { type Findings, plainScores } from "../define-probe.js";
import type { MembershipInputs } from "../inputs.js";
import { type AttackScores, allowsFpr, areaUnderRoc, rocCurve, tprAtFpr } from "../statistics/roc.js";
import { type Signals, signalsOf } from "./signals.js";

/** What a model answers to members and to others. */
export interface BothSides {
  readonly members: Signals;
  readonly nonMembers: Signals;
}

/** Asks the victim about both sides. */
export async function askBoth(
  { victim, members, nonMembers }: MembershipInputs,
  context: Pick<MethodContext, "engine" | "signal" | "progress">,
): Promise<BothSides> {
  return {
    members: await signalsOf(context, victim, members, "members"),
    nonMembers: await signalsOf(context, victim, nonMembers, "non-members"),
  };
}

/** Rates of false positives at which members are counted. */
const RATES = [0.01, 0.001];

/** Below this gap of accuracies an attack tells little of the model: there is little that members could be told by. */
const GENERALISES = 0.02;

/**
 * What is said of an attack that tells members from others: area under the curve, members found at few false positives, and the gap between both
 * sides that any of it rests on.
 * @param victim its answers to both sides
 */
export function toldApart(scores: AttackScores, victim: BothSides, queries: number): Findings {
  const rates = RATES.filter((fpr) => allowsFpr(scores, fpr));
  const left = RATES.filter((fpr) => !allowsFpr(scores, fpr));
  const mean = (values: Float64Array): number => values.reduce((a, b) => a + b, 0) / values.length;
  const [trained, others] = [mean(victim.members.right), mean(victim.nonMembers.right)];
  const measured = {
    membersAccuracy: trained,
    nonMembersAccuracy: others,
    accuracyGap: trained - others,
    membersLoss: mean(victim.members.losses),
    nonMembersLoss: mean(victim.nonMembers.losses),
    members: scores.members.length,
    nonMembers: scores.nonMembers.length,
  };
  const warnings = [
    ...(trained - others < GENERALISES
      ? [`the model is right on ${percent(trained)} of the members and ${percent(others)} of the others: there is little to tell them by`]
      : []),
    ...left.map(
      (fpr) =>
        `${scores.nonMembers.length} non-members are too few for the rate at ${percent(fpr)} false positives: it takes ${Math.ceil(3 / fpr)}`,
    ),
  ];
  return {
    risks: {
      auc: areaUnderRoc(scores),
      ...Object.fromEntries(rates.map((fpr) => [`tprAt${100 * fpr}%Fpr`, tprAtFpr(scores, fpr).tpr])),
    },
    measured,
    scores: plainScores(scores),
    roc: rocCurve(scores),
    queries,
    warnings,
  };
}

function percent(share: number): string {
  return `${Number((100 * share).toFixed(1))} %`;
}
