/**
 * Retrieval-augmented generation (arXiv 2005.11401, with a frozen retriever and a frozen reader): passages found for a question stand in
 * the prompt, the model reads the answer out of them. Nothing is learned, and any model that answers prompts will do.
 */

import { defineMethod, inputKind, LfmError, throwIfAborted } from "@lfm/core";
import type { Passage, Query } from "@lfm/data";
import { z } from "zod";
import { queriesInput } from "../inputs.js";
import { passageText } from "../text-encoder.js";

/** Answers prompts in order: a generator, an API, a classifier over answer words. */
export type Answerer = (prompts: readonly string[], signal?: AbortSignal) => Promise<readonly string[]>;

/** Passages for each query, best first. */
export type Retriever = (queries: readonly Query[], k: number) => Promise<readonly (readonly Passage[])[]>;

/** A model that answers prompts. */
export const answererInput = inputKind<Answerer>("answerer");
/** A search that gives passages back. */
export const retrieverInput = inputKind<Retriever>("retriever");

export interface RagInputs {
  readonly questions: readonly Query[];
  readonly retrieve: Retriever;
  readonly answer: Answerer;
}

export interface RagAnswer {
  readonly id: string;
  readonly answer: string;
  /** Ids of the passages in the prompt, in its order. */
  readonly passages: readonly string[];
  readonly prompt: string;
}

const config = z.strictObject({
  passages: z.number().int().min(0).default(5).describe("passages in a prompt; 0 asks without retrieval"),
  order: z
    .enum(["best-first", "best-last"])
    .default("best-first")
    .describe("order of the passages: the last one stands next to the question"),
  template: z
    .string()
    .refine((t) => t.includes("{question}") && t.includes("{passages}"), "must contain {question} and {passages}")
    .default("{passages}\n\n{question}")
    .describe("prompt with {passages} and {question}"),
  separator: z.string().default("\n").describe("text between two passages"),
  batch: z.number().int().positive().default(64).describe("prompts handed to the model at once"),
});

export type RagConfig = z.output<typeof config>;

/** A prompt from its template; trimmed, so that a prompt without passages starts with the question. Texts are put in as they are. */
export function fillPrompt(template: string, separator: string, passages: readonly Passage[], question: string): string {
  const parts: Readonly<Record<string, string>> = { "{passages}": passages.map(passageText).join(separator), "{question}": question };
  return template.replace(/\{passages\}|\{question\}/g, (slot) => parts[slot]!).trim();
}

export const rag = defineMethod({
  id: "rag",
  paradigm: "retrieval",
  summary: "Puts found passages into the prompt and lets the model answer from them.",
  paper: {
    title: "Retrieval-Augmented Generation for Knowledge-Intensive NLP Tasks",
    arxiv: "2005.11401",
    year: 2020,
    survey: "3.3 database augmentation",
  },
  needs: ["labels"],
  inputs: { answer: answererInput, retrieve: retrieverInput, questions: { kind: queriesInput, about: "questions" } },
  config,
  presets: {
    labelled: {
      summary: "passages and question under headings, the answer asked for",
      config: { template: "Passages:\n{passages}\n\nQuestion: {question}\nAnswer:" },
    },
    plain: { summary: "passages and question in one line", config: { template: "{passages} {question}", separator: " " } },
  },
  async run(inputs: RagInputs, c, context): Promise<readonly RagAnswer[]> {
    const { questions } = inputs;
    const answers: RagAnswer[] = [];
    for (let at = 0; at < questions.length; at += c.batch) {
      throwIfAborted(context.signal, "[@lfm/retrieval] rag");
      const part = questions.slice(at, at + c.batch);
      const found = c.passages === 0 ? part.map(() => []) : await inputs.retrieve(part, c.passages);
      expectLength("retriever", found.length, part.length);
      const inOrder = found.map((list) => (c.order === "best-last" ? list.slice(0, c.passages).reverse() : list.slice(0, c.passages)));
      const prompts = part.map((question, i) => fillPrompt(c.template, c.separator, inOrder[i]!, question.text));
      const words = await inputs.answer(prompts, context.signal);
      expectLength("answerer", words.length, part.length);
      part.forEach(({ id }, i) => {
        answers.push({ id, answer: words[i]!, passages: inOrder[i]!.map((p) => p.id), prompt: prompts[i]! });
      });
      context.progress({ phase: "answer", done: at + part.length, total: questions.length, unit: "questions" });
    }
    return answers;
  },
});

function expectLength(who: string, got: number, wanted: number): void {
  if (got !== wanted) throw new LfmError("SHAPE_MISMATCH", `[@lfm/retrieval] rag: the ${who} gave ${got} results for ${wanted} questions`);
}
