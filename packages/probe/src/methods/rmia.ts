/**
 * RMIA, the robust membership inference attack (Zarifzadeh et al., arXiv 2312.03262): an example is taken for a member where its likelihood, against
 * what reference models give it, beats that of most other examples z: score = share of z with [p(x|θ) / p(x)] / [p(z|θ) / p(z)] ≥ γ (eq. 2, 4).
 * p(x) is the mean over references of both kinds; where none learned from x, p(x) ≈ ½((1 + a) p_out(x) + 1 − a) (§B.2.2). One reference suffices.
 */
import { z } from "zod";
import { defineProbe } from "../define-probe.js";
import { membershipInputs, type ProbedExamples, probedInput, referencesInput } from "../inputs.js";
import { asked, askReferences, inAndOut, type ReferenceAnswers, type ReferenceInputs } from "../membership/references.js";
import { type Signals, signalsOf } from "../membership/signals.js";
import { askBoth, toldApart } from "../membership/told-apart.js";
import { unseenMissing } from "./calibrated-loss.js";

const config = z.strictObject({
  gamma: z.number().min(1).default(2).describe("how many times z's ratio of likelihoods an example must reach, γ"),
  a: z
    .number()
    .min(0)
    .max(1)
    .default(0.3)
    .describe("offline: how near p_in of an example lies to p_out, where no reference learned from it; 1 takes both for equal"),
});
type Config = z.output<typeof config>;

interface RmiaInputs extends ReferenceInputs {
  /** Examples z that neither the victim nor any reference learned from. Default: the non-members, each without itself. */
  readonly population?: ProbedExamples;
}

export const rmia = defineProbe<RmiaInputs, typeof config>({
  id: "rmia",
  summary: "Tells members by pairwise likelihood ratios against other examples; one reference model suffices.",
  paper: { title: "Low-Cost High-Power Membership Inference Attacks", arxiv: "2312.03262", year: 2024 },
  needs: ["logits"],
  inputs: {
    ...membershipInputs,
    references: { kind: referencesInput, about: "of the same kind; one that learned from no example will do" },
    population: { kind: probedInput, about: "z that nobody learned from, instead of the non-members", optional: true },
  },
  config,
  attack: async (inputs, c, context) => {
    const victim = await askBoth(inputs, context);
    const references = await askReferences(inputs, victim, context);
    const members = ratios(victim.members, references.members, c);
    const nonMembers = ratios(victim.nonMembers, references.nonMembers, c);
    const { population } = inputs;
    let apart: Float64Array | undefined;
    if (population) {
      const others: ReferenceAnswers[] = [];
      for (const { model } of inputs.references)
        others.push({ signals: await signalsOf(context, model, population, "population"), saw: undefined });
      apart = ratios(await signalsOf(context, inputs.victim, population, "population"), others, c);
    }
    const beaten = sharesBeaten((apart ?? nonMembers).toSorted(), Math.log(c.gamma));
    const scores = {
      members: members.map((own) => beaten(own, false)),
      nonMembers: nonMembers.map((own) => beaten(own, apart === undefined)),
    };
    return toldApart(scores, victim, asked(victim) + (apart?.length ?? 0));
  },
});

/** ln p(x|θ) − ln p(x) of each example. */
function ratios(own: Signals, references: readonly ReferenceAnswers[], { a }: Config): Float64Array {
  const probabilities = references.map(({ signals, saw }) => ({
    saw,
    signals: { ...signals, losses: signals.losses.map((l) => Math.exp(-l)) },
  }));
  return own.losses.map((loss, i) => {
    const { in: inside, out } = inAndOut(probabilities, i, (s) => s.losses);
    if (out.length === 0) throw unseenMissing(i);
    const without = mean(out);
    const anywhere = inside.length > 0 ? (mean(inside) + without) / 2 : ((1 + a) * without + 1 - a) / 2;
    return -loss - Math.log(anywhere);
  });
}

/** @param ascending ratios of z, in logarithms. @returns the share of them that a ratio beats; `itself`: it is one of them and is left out */
function sharesBeaten(ascending: Float64Array, margin: number): (own: number, itself: boolean) => number {
  return (own, itself) => {
    let [low, high] = [0, ascending.length];
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (ascending[middle]! <= own - margin) low = middle + 1;
      else high = middle;
    }
    const others = ascending.length - (itself ? 1 : 0);
    // It beats itself where no margin is asked.
    const beaten = low - (itself && margin <= 0 ? 1 : 0);
    return others === 0 ? 0 : beaten / others;
  };
}

function mean(values: readonly number[]): number {
  return values.reduce((sum, v) => sum + v, 0) / values.length;
}
