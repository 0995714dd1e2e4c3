import { Rng } from "@lfm/core";
import { createGenerator } from "@lfm/models";
import { engineOf, requireTokenizer, resolveModel } from "../inputs/models.js";
import type { JobContext, JobRequest, JobResult } from "../program/job.js";

export interface GenerateRequest extends JobRequest {
  readonly model: string;
  readonly prompt: readonly string[];
  readonly delta?: readonly string[];
  readonly maxNewTokens: number;
  readonly temperature?: number;
  readonly topK?: number;
  readonly topP?: number;
  readonly stop?: readonly string[];
}

/** `lfm generate`: continues prompts; tokens are logged as they come. */
export async function generate(request: GenerateRequest, job: JobContext): Promise<JobResult> {
  const m = await resolveModel(request.model, request.delta ?? [], job);
  const tokenizer = requireTokenizer(m);
  const engine = await engineOf(request);
  const generator = await createGenerator(engine, m.model);
  const { bos, eos } = tokenizer.specials;
  const answers: { prompt: string; completion: string; tokens: number }[] = [];
  const started = performance.now();
  for (const [i, prompt] of request.prompt.entries()) {
    const ids = [...(bos === undefined ? [] : [bos]), ...tokenizer.encode(prompt, { addSpecialTokens: false }).ids];
    const { tokens } = await generator.generate(ids, {
      maxNewTokens: request.maxNewTokens,
      ...(request.temperature === undefined ? {} : { temperature: request.temperature }),
      ...(request.topK === undefined ? {} : { topK: request.topK }),
      ...(request.topP === undefined ? {} : { topP: request.topP }),
      ...(eos === undefined ? {} : { eos }),
      ...(request.stop ? { stop: request.stop.map((text) => [...tokenizer.encode(text, { addSpecialTokens: false }).ids]) } : {}),
      rng: new Rng(request.seed ?? 0).split(i),
      ...(job.signal ? { signal: job.signal } : {}),
      onToken: () => job.progress({ phase: "generate", done: i, total: request.prompt.length, unit: "prompt" }),
    });
    answers.push({ prompt, completion: tokenizer.decode(tokens, { skipSpecialTokens: true }), tokens: tokens.length });
  }
  await generator.dispose();
  const seconds = (performance.now() - started) / 1000;
  const count = answers.reduce((n, a) => n + a.tokens, 0);
  return {
    value: { model: m.name, answers, seconds, tokensPerSecond: count / seconds },
    text: answers.map((a) => (request.prompt.length > 1 ? `${a.prompt} │ ${a.completion}` : a.completion)).join("\n"),
  };
}
