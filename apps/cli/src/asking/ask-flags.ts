/** How question and passages become a prompt: the folder's chat template, headings, or one line of text and nothing else. */
export const promptForms = ["chat", "labelled", "plain"] as const;
export type PromptForm = (typeof promptForms)[number];

/**
 * When something is looked up: the question, once, before the answer; never; each sentence that is drafted; a sentence with a token that the model
 * was unsure of.
 */
export const askPolicies = ["always", "never", "each-sentence", "flare"] as const;
export type AskPolicy = (typeof askPolicies)[number];
