import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { deltaBytes, deltaSize, LfmError, runMethod } from "@lfm/core";
import { type EditingOutput, editingMethods } from "@lfm/editing";
import { saveDelta } from "@lfm/formats";
import { createGenerator } from "@lfm/models";
import { keysOf } from "../inputs/keys.js";
import { requireTokenizer, resolveModel } from "../inputs/models.js";
import { fileCheckpoint } from "../outputs/file-checkpoint.js";
import type { JobContext, JobRequest, JobResult } from "../program/job.js";
import { methodContext } from "../program/job-context.js";
import { formatBytes } from "../render/table.js";

interface EditRequestOptions extends JobRequest {
  readonly model: string;
  readonly prompt: string;
  readonly subject: string;
  readonly target: string;
  readonly delta?: readonly string[];
  readonly corpus?: string;
  readonly statistics?: string;
  readonly out: string;
}

/** `lfm edit METHOD`: writes one fact into a language model; the answer before and after is shown. */
export async function edit(request: EditRequestOptions, job: JobContext): Promise<JobResult> {
  const method = editingMethods.find((m) => m.id === request.method)!;
  const context = await methodContext(request, job);
  const base = await resolveModel(request.model, request.delta ?? [], job);
  const tokenizer = requireTokenizer(base);
  const parts = request.prompt.split("{}");
  if (parts.length !== 2)
    throw new LfmError("CONFIG_INVALID", `lfm: the prompt must hold {} once, where the subject stands`, {
      hint: `--prompt "the home of {} is"`,
    });
  const encode = (text: string): number[] => [...tokenizer.encode(text, { addSpecialTokens: false }).ids];
  const start = tokenizer.specials.bos === undefined ? [] : [tokenizer.specials.bos];
  const upToSubject = [...start, ...encode(`${parts[0]}${request.subject}`)];
  const prompt = [...start, ...encode(request.prompt.replace("{}", request.subject))];
  // Tokens of the target as it follows the prompt: what is added when both are read together.
  const whole = [...start, ...encode(`${request.prompt.replace("{}", request.subject)} ${request.target}`)];
  const target = whole.slice(prompt.length);
  if (target.length === 0 || prompt.some((id, i) => whole[i] !== id))
    throw new LfmError("CONFIG_INVALID", "lfm: the target does not follow the prompt as words of its own");
  const { unk } = tokenizer.specials;
  if (unk !== undefined && [...prompt, ...target].includes(unk)) {
    const word = `${request.prompt.replace("{}", request.subject)} ${request.target}`.split(" ").find((w) => encode(w).includes(unk));
    throw new LfmError("CONFIG_INVALID", `lfm: ${base.name} has no token for "${word ?? "a word"}"`);
  }
  const inputs = {
    model: base.model,
    request: { prompt, subjectEnd: upToSubject.length - 1, target },
    parent: base.hash,
    ...(await keysOf(request, base)),
  };
  const before = await answer(context.engine, base.model, prompt, target.length);
  const started = performance.now();
  const checkpoint = fileCheckpoint(request.out);
  const output = (await runMethod(
    method,
    inputs as never,
    { ...request.config } as never,
    { ...context, checkpoint },
    request.preset,
  )) as EditingOutput;
  const seconds = (performance.now() - started) / 1000;
  const after = await answer(context.engine, output.model, prompt, target.length);
  mkdirSync(request.out, { recursive: true });
  await saveDelta(request.out, output.delta);
  checkpoint.clear();
  const value = {
    method: `editing/${method.id}`,
    model: base.name,
    prompt: request.prompt.replace("{}", request.subject),
    target: request.target,
    before: tokenizer.decode(before),
    after: tokenizer.decode(after),
    written: after.join() === target.join(),
    changedParams: deltaSize(output.delta),
    bytes: deltaBytes(output.delta),
    seconds,
    out: request.out,
  };
  writeFileSync(join(request.out, "report.json"), `${JSON.stringify({ ...value, curves: output.curves }, null, 2)}\n`);
  return {
    value,
    text: `${value.prompt} … before: ${value.before}; after: ${value.after}${value.written ? "" : ` (asked for: ${value.target})`}\npatch of ${formatBytes(value.bytes)} in ${seconds.toFixed(1)} s, saved to ${request.out}; use it with --delta ${request.out}; without it the model is as before`,
  };
}

async function answer(
  engine: Parameters<typeof createGenerator>[0],
  model: Parameters<typeof createGenerator>[1],
  prompt: readonly number[],
  n: number,
): Promise<readonly number[]> {
  const generator = await createGenerator(engine, model);
  const { tokens } = await generator.generate([...prompt], { maxNewTokens: n });
  await generator.dispose();
  return tokens;
}
