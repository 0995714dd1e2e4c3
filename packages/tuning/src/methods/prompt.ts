/** Prompt tuning (arXiv 2104.08691): v learned vectors stand before the embedded tokens; nothing else learns. */
import { softPrompt, textRulesInput } from "@lfm/models";
import { z } from "zod";
import { answersInput, defineTuning } from "../define-tuning.js";
import { initialPrompt, initialPromptFields, readsAnswers, readsText, requireRoom } from "../initial-prompt.js";
import { PROMPT_TENSOR, promptForm } from "../prompt-form.js";
import { trainingFields } from "../training-options.js";

export const prompt = defineTuning({
  id: "prompt",
  summary: "Learns vectors that stand before the embedded input.",
  paper: {
    title: "The Power of Scale for Parameter-Efficient Prompt Tuning",
    arxiv: "2104.08691",
    year: 2021,
    survey: "3.2 input engineering",
  },
  config: z.strictObject({ ...initialPromptFields, ...trainingFields(1e-1) }),
  inputs: {
    text: { kind: textRulesInput, optional: true, when: readsText },
    answers: { kind: answersInput, optional: true, when: readsAnswers },
  },
  delta: { hooks: (_c, t) => [softPrompt(t[PROMPT_TENSOR]!)] },
  peft: promptForm("PROMPT_TUNING"),
  training: (c) => c,
  start: (inputs, c, context) => {
    requireRoom("prompt", inputs.model, c.numVirtualTokens);
    return { learned: { [PROMPT_TENSOR]: initialPrompt("prompt", inputs.model, c, inputs, context.rng.split("init")) } };
  },
});
