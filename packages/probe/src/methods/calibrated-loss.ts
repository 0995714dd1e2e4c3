/**
 * Membership by calibrated loss (Watson et al., arXiv 2111.08440): loss less what models have that did not learn from the example, for some examples
 * are easy for everybody. Score mean L_ref(x) − L(x).
 */
import { LfmError } from "@lfm/core";
import { z } from "zod";
import { defineProbe } from "../define-probe.js";
import { membershipInputs, referencesInput } from "../inputs.js";
import { asked, askReferences, inAndOut, type ReferenceInputs, scoreBoth } from "../membership/references.js";
import { askBoth, toldApart } from "../membership/told-apart.js";

const config = z.strictObject({});

export const calibratedLoss = defineProbe<ReferenceInputs, typeof config>({
  id: "calibrated-loss",
  summary: "Tells members by their loss against that of models which did not learn from them.",
  paper: {
    title: "On the Importance of Difficulty Calibration in Membership Inference Attacks",
    arxiv: "2111.08440",
    year: 2022,
  },
  needs: ["logits"],
  inputs: { ...membershipInputs, references: { kind: referencesInput, about: "of the same kind, trained on other examples" } },
  config,
  attack: async (inputs, _c, context) => {
    const victim = await askBoth(inputs, context);
    const references = await askReferences(inputs, victim, context);
    const scores = scoreBoth(victim, references, (own, others, i) => {
      const { out } = inAndOut(others, i, (s) => s.losses);
      if (out.length === 0) throw unseenMissing(i);
      return out.reduce((a, b) => a + b, 0) / out.length - own.losses[i]!;
    });
    return toldApart(scores, victim, asked(victim));
  },
});

/** What is said where every reference has learned from an example. */
export function unseenMissing(i: number): LfmError {
  return new LfmError("CONFIG_INVALID", `[@lfm/probe] every reference model learned from example ${i + 1}: there is none to compare with`, {
    hint: "give a --reference that was trained without it",
  });
}
