import { LfmError, Rng } from "@lfm/core";
import type { ChatMessage } from "@lfm/data";
import { type ContinuationWishes, chatPromptIds, continuationOf, createGenerator, promptIds } from "@lfm/models";
import { engineOf } from "../inputs/engine.js";
import { requireText, resolveModel } from "../inputs/models.js";
import { baseWish } from "../inputs/quantized.js";
import type { JobContext, JobRequest, JobResult } from "../program/job.js";

/** The wishes are flags; what none of them says, the model's folder does. */
export interface GenerateRequest extends JobRequest, ContinuationWishes {
  readonly model: string;
  readonly prompt: readonly string[];
  readonly delta?: readonly string[];
  /** Prompts are what a user says: the folder's chat template writes the conversation. */
  readonly chat?: boolean;
  /** What the system says before it. */
  readonly system?: string;
}

interface Answer {
  readonly prompt: string;
  readonly completion: string;
  readonly tokens: number;
}

/** `lfm generate`: continues prompts, as transformers' `generate` does with the same folder. */
export async function generate(request: GenerateRequest, job: JobContext): Promise<JobResult> {
  const m = await resolveModel(request.model, request.delta ?? [], job, baseWish(request, "decoding"));
  const rules = requireText(m);
  if (request.system !== undefined && !request.chat)
    throw new LfmError("CONFIG_INVALID", "lfm: --system is what a conversation begins with", { hint: "--chat --system …" });
  const prompts = request.prompt.map((prompt) => (request.chat ? chatPromptIds(rules, asked(prompt, request)) : promptIds(rules, prompt)));
  const continuations = prompts.map((ids) => continuationOf(rules, ids.length, request));
  const generator = await createGenerator(await engineOf(request), m.model);
  const answers: Answer[] = [];
  const started = performance.now();
  const limits = continuations.map(({ options }) => options.maxNewTokens);
  const total = limits.reduce((n, limit) => n + limit, 0);
  // A continuation that ends early has come to its end all the same.
  let [ended, come] = [0, 0];
  const progress = (): void => job.progress({ phase: "generate", done: ended + come, total, unit: "token" });
  for (const [i, ids] of prompts.entries()) {
    const { options, text } = continuations[i]!;
    const { tokens } = await generator.generate(ids, {
      ...options,
      rng: new Rng(request.seed ?? 0).split(i),
      ...(job.signal ? { signal: job.signal } : {}),
      onToken: () => {
        if (++come < limits[i]!) progress();
      },
    });
    [ended, come] = [ended + limits[i]!, 0];
    progress();
    answers.push({ prompt: request.prompt[i]!, completion: text(tokens), tokens: tokens.length });
  }
  await generator.dispose();
  const seconds = (performance.now() - started) / 1000;
  const count = answers.reduce((n, a) => n + a.tokens, 0);
  return {
    value: { model: m.name, answers, seconds, tokensPerSecond: count / seconds },
    text: answers.map((a) => (prompts.length > 1 ? `${a.prompt} │ ${a.completion}` : a.completion)).join("\n"),
  };
}

function asked(prompt: string, { system }: GenerateRequest): readonly ChatMessage[] {
  return [...(system === undefined ? [] : [{ role: "system", content: system }]), { role: "user", content: prompt }];
}
