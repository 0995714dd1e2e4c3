import type { MethodContext } from "@lfm/core";
import { createBlackBox, type TextRules, textRulesInput } from "@lfm/models";
import { z } from "zod";
import type { Findings } from "../define-probe.js";
import { type LabelledTexts, probedTextsInput, type VictimInputs, victimInputs } from "../inputs.js";
import { attackTexts, type Recipe } from "./recipe.js";

/** What attacks on texts are given. */
export interface TextAttackInputs extends VictimInputs {
  readonly texts: LabelledTexts;
  readonly text: TextRules;
}

/** Declarations of {@link TextAttackInputs}. */
export const textAttackInputs = {
  ...victimInputs,
  texts: { kind: probedTextsInput, as: "data", about: "that are changed until the model errs" },
  text: textRulesInput,
} as const;

/** Options that attacks on texts share. */
export const textAttackFields = {
  order: z.enum(["deletion", "random"]).default("deletion").describe("words by how much the answer suffers without them, or at random"),
  queriesPerText: z.number().int().positive().default(500).describe("rows that may be asked about for one text"),
  cases: z.number().int().min(0).default(5).describe("changed texts that are listed: they show the texts that were given"),
};

/** Attacks the victim as a black box that gives probabilities, by a recipe. */
export async function runRecipe(
  { victim, texts, text }: TextAttackInputs,
  c: z.output<z.ZodObject<typeof textAttackFields>>,
  recipe: Recipe,
  context: MethodContext,
): Promise<Findings> {
  const budget = c.queriesPerText * texts.texts.length;
  const box = await createBlackBox(context.engine, victim, { budget, offers: "probabilities" });
  const most = text.maxLength ?? Number.POSITIVE_INFINITY;
  try {
    return await attackTexts(box, texts, (t) => text.tokenizer.encode(t).ids.slice(0, most), recipe, c, context);
  } finally {
    await box.dispose();
  }
}
