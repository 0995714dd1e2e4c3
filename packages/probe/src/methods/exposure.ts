/**
 * Exposure of canaries (Carlini et al., arXiv 1802.08232): how much of a secret that was put into the training data the model gives away. Of a canary
 * among R − 1 others of its form that were never trained on, exposure = log₂ R − log₂ rank, rank 1 the one that the model finds least surprising
 * (definition 3, estimated by sampling as in §4.3). log₂ R is as much as this many candidates can show.
 */
import { z } from "zod";
import { defineProbe } from "../define-probe.js";
import { type MembershipInputs, probedInput, victimInputs } from "../inputs.js";
import { askBoth, toldApart } from "../membership/told-apart.js";
import { shareOf } from "../statistics/binomial.js";

const config = z.strictObject({
  cases: z.number().int().min(0).default(20).describe("canaries that are listed, the most exposed first"),
});

export const exposure = defineProbe<MembershipInputs, typeof config>({
  id: "exposure",
  summary: "Measures how much a model gives away of secrets in its training text: their rank among others of the same form.",
  paper: {
    title: "The Secret Sharer: Evaluating and Testing Unintended Memorization in Neural Networks",
    arxiv: "1802.08232",
    year: 2019,
  },
  needs: ["logits"],
  inputs: {
    ...victimInputs,
    members: { kind: probedInput, as: "data", about: "canaries: secrets that the training text held" },
    nonMembers: { kind: probedInput, as: "candidates", about: "of the canaries' form that no training text held" },
  },
  config,
  attack: async (inputs, c, context) => {
    const victim = await askBoth(inputs, context);
    const others = victim.nonMembers.losses.toSorted();
    const most = Math.log2(others.length + 1);
    const canaries = Array.from(victim.members.losses, (loss, i) => ({ canary: i + 1, loss, rank: rankAmong(others, loss) })).map((x) => ({
      ...x,
      exposure: most - Math.log2(x.rank),
    }));
    const exposures = canaries.map((x) => x.exposure);
    const score = (losses: Float64Array): Float64Array => losses.map((l) => -l);
    const found = toldApart(
      { members: score(victim.members.losses), nonMembers: score(victim.nonMembers.losses) },
      victim,
      canaries.length + others.length,
    );
    const first = canaries.filter((x) => x.rank === 1).length;
    return {
      ...found,
      risks: { extracted: shareOf(first, canaries.length), ...found.risks },
      measured: {
        meanExposure: exposures.reduce((a, b) => a + b, 0) / exposures.length,
        maxExposure: Math.max(...exposures),
        mostExposure: most,
        ...found.measured,
      },
      cases: canaries.toSorted((a, b) => b.exposure - a.exposure || a.canary - b.canary).slice(0, c.cases),
      warnings: [],
    };
  },
});

/** 1 + those that surprise less or as much: ties are no exposure. */
function rankAmong(ascending: Float64Array, loss: number): number {
  let [low, high] = [0, ascending.length];
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (ascending[middle]! <= loss) low = middle + 1;
    else high = middle;
  }
  return 1 + low;
}
