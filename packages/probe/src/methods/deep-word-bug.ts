/** After DeepWordBug (Gao et al., arXiv 1801.04354): typos in the words that matter most, within a number of edited letters, until the model errs. */
import { z } from "zod";
import { defineProbe } from "../define-probe.js";
import { misclassified } from "../text/recipe.js";
import { runRecipe, type TextAttackInputs, textAttackFields, textAttackInputs } from "../text/text-attack.js";
import { editsAtMost, typos } from "../text/typos.js";

const config = z.strictObject({
  maxEdits: z.number().int().positive().default(30).describe("letters of a text that may be edited in all, by Levenshtein's distance"),
  ...textAttackFields,
});

export const deepWordBug = defineProbe<TextAttackInputs, typeof config>({
  id: "deep-word-bug",
  summary: "Puts typos into the words that matter most until the model errs.",
  paper: {
    title: "Black-box Generation of Adversarial Text Sequences to Evade Deep Learning Classifiers",
    arxiv: "1801.04354",
    year: 2018,
  },
  needs: ["logits", "tokenizer"],
  inputs: textAttackInputs,
  config,
  attack: (inputs, c, context) =>
    runRecipe(
      inputs,
      c,
      { goal: misclassified, constraints: [editsAtMost(c.maxEdits)], transformation: typos, search: { order: c.order } },
      context,
    ),
});
