/** Membership by loss (Yeom et al., arXiv 1709.01604): what the model predicts well, it has probably learned from. Score −L(x). */
import { z } from "zod";
import { defineProbe } from "../define-probe.js";
import { type MembershipInputs, membershipInputs } from "../inputs.js";
import { askBoth, toldApart } from "../membership/told-apart.js";

const config = z.strictObject({});

export const lossMembership = defineProbe<MembershipInputs, typeof config>({
  id: "loss",
  summary: "Tells members by their loss: what the model predicts well, it has probably learned from.",
  paper: {
    title: "Privacy Risk in Machine Learning: Analyzing the Connection to Overfitting",
    arxiv: "1709.01604",
    year: 2018,
  },
  needs: ["logits"],
  inputs: membershipInputs,
  config,
  attack: async (inputs, _c, context) => {
    const victim = await askBoth(inputs, context);
    const score = (losses: Float64Array): Float64Array => losses.map((l) => -l);
    const scores = { members: score(victim.members.losses), nonMembers: score(victim.nonMembers.losses) };
    return toldApart(scores, victim, scores.members.length + scores.nonMembers.length);
  },
});
