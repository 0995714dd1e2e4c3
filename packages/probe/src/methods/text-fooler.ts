/**
 * After TextFooler (Jin et al., arXiv 1907.11932): words in the order of how much the answer suffers without them, each exchanged for a neighbour in
 * vector space until the model errs. Neighbours are those of the victim's own table, where the authors take counter-fitted vectors; sentences are not
 * compared by a second encoder, and parts of speech are not looked at. `maxShare` bounds how much may be changed instead.
 */
import { z } from "zod";
import { defineProbe } from "../define-probe.js";
import { neighbours } from "../text/neighbours.js";
import { changedAtMost, misclassified } from "../text/recipe.js";
import { runRecipe, type TextAttackInputs, textAttackFields, textAttackInputs } from "../text/text-attack.js";

const config = z.strictObject({
  neighbours: z.number().int().positive().default(50).describe("words that a word may give place to"),
  minCosine: z.number().min(-1).max(1).default(0.5).describe("cosine between the vectors of a word and of what takes its place, at least"),
  maxShare: z.number().min(0).max(1).default(0.2).describe("share of the words of a text that may be changed; one always may be"),
  ...textAttackFields,
});

export const textFooler = defineProbe<TextAttackInputs, typeof config>({
  id: "text-fooler",
  summary: "Exchanges the words that matter most for neighbours in vector space until the model errs.",
  paper: {
    title: "Is BERT Really Robust? A Strong Baseline for Natural Language Attack on Text Classification and Entailment",
    arxiv: "1907.11932",
    year: 2020,
  },
  needs: ["weights", "logits", "tokenizer"],
  inputs: textAttackInputs,
  config,
  attack: (inputs, c, context) =>
    runRecipe(
      inputs,
      c,
      {
        goal: misclassified,
        constraints: [changedAtMost(c.maxShare)],
        transformation: neighbours(inputs.victim, inputs.text, { count: c.neighbours, minCosine: c.minCosine }),
        search: { order: c.order },
      },
      context,
    ),
});
