import { LfmError } from "@lfm/core";
import { createGenerator } from "@lfm/models";
import type { PromptForm } from "../asking/ask-flags.js";
import { type AskWishes, askQuestion } from "../asking/ask-question.js";
import type { CitedPassage } from "../asking/cited-prompts.js";
import { promptWriter } from "../asking/prompt-form.js";
import { engineOf } from "../inputs/engine.js";
import { requireText, resolveModel } from "../inputs/models.js";
import { openSearch, type WhatToSearch } from "../inputs/open-search.js";
import { baseWish } from "../inputs/quantized.js";
import type { JobContext, JobRequest, JobResult } from "../program/job.js";

export interface AskRequest extends JobRequest, Omit<WhatToSearch, "index">, AskWishes {
  readonly question: string;
  readonly model: string;
  readonly index?: string;
  readonly delta?: readonly string[];
  readonly form?: PromptForm;
  readonly seed?: number;
}

/** `lfm ask`: a language model answers from the documents of an index, and says which. */
export async function ask(request: AskRequest, job: JobContext): Promise<JobResult> {
  const { question, model, index, delta = [], form, policy, theta, beta } = request;
  if (question.trim() === "")
    throw new LfmError("CONFIG_INVALID", "lfm: nothing is asked", { hint: "lfm ask --index DIR --model MODEL who is …" });
  if (index === undefined && policy !== "never")
    throw new LfmError("CONFIG_INVALID", "lfm: --index is not given", {
      hint: "lfm index documents.jsonl --out DIR makes one; --policy never asks the model alone",
    });
  if (policy !== "flare" && (theta !== undefined || beta !== undefined))
    throw new LfmError("CONFIG_INVALID", `lfm: --theta and --beta are flare's; the policy is ${policy}`, { hint: "--policy flare" });
  const m = await resolveModel(model, delta, job, baseWish(request, "decoding"));
  const text = requireText(m);
  const engine = await engineOf(request);
  const search = index === undefined || policy === "never" ? undefined : await openSearch({ ...request, index }, engine, job);
  const generator = await createGenerator(engine, m.model);
  const started = performance.now();
  const asked = await askQuestion({ text, writer: promptWriter(text, form), generator, search }, question, request, job.signal);
  const seconds = (performance.now() - started) / 1000;
  await generator.dispose();
  await search?.dispose();
  return {
    value: { question, model: m.name, policy, ...asked, seconds },
    text: [asked.answer, ...(asked.citations.length > 0 ? ["", ...asked.citations.map(cited)] : [])].join("\n"),
  };
}

function cited({ number, id, title, named, support }: CitedPassage): string {
  const owes = [...(named ? ["named"] : []), ...(support === null ? [] : [`${Math.round(100 * support)} % of the answer's words`])];
  return `[${number}] ${id}${title === undefined ? "" : `  ${title}`}${owes.length > 0 ? `  (${owes.join(", ")})` : ""}`;
}
