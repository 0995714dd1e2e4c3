import { existsSync, realpathSync, statSync } from "node:fs";
import { type Engine, LfmError, Rng } from "@lfm/core";
import { type Columns, readUnanswered, type Unanswered } from "@lfm/data";
import { writeTextFile } from "@lfm/formats";
import { type ContinuationWishes, chatPromptIds, continuationOf, createGenerator, promptIds } from "@lfm/models";
import { answerReader, selfConsistency, single, taskKind, textRows } from "@lfm/tuning";
import { engineOf } from "../inputs/engine.js";
import { classNames } from "../inputs/labels.js";
import { type NamedModel, requireText, resolveModel } from "../inputs/models.js";
import { baseWish } from "../inputs/quantized.js";
import { completeAll } from "../outputs/complete.js";
import { answersTo, classesOf, logProbability } from "../outputs/measure.js";
import type { JobContext, JobRequest, JobResult } from "../program/job.js";

export interface PredictRequest extends JobRequest, ContinuationWishes {
  readonly model: string;
  readonly data: string;
  readonly delta?: readonly string[];
  readonly columns?: Columns;
  /** Of the answers; they are printed where there is none. */
  readonly out?: string;
  readonly overwrite?: boolean;
  readonly batchSize: number;
  readonly maxLength: number;
  /** Ways to each answer that are drawn; with `answer`, the pattern that reads an answer out of one. */
  readonly votes?: number;
  readonly answer?: string;
}

/** What is asked, with its answer. */
type Prediction = Readonly<Record<string, unknown>>;

/** `lfm predict`: answers unlabelled examples, each in the row that it came in. */
export async function predict(request: PredictRequest, job: JobContext): Promise<JobResult> {
  const { out, delta = [], columns } = request;
  if (out !== undefined) requireFreeFile(out, request.overwrite === true, request.data);
  const asked = readUnanswered(request.data, columns ? { columns } : {});
  const m = await resolveModel(request.model, delta, job, baseWish(request, "answers"));
  const engine = await engineOf(request);
  const started = performance.now();
  const predictions =
    taskKind(m.model) === "language" ? await completions(m, asked, engine, request, job) : await answers(m, asked, engine, request);
  const seconds = (performance.now() - started) / 1000;
  const lines = predictions.map((p) => `${JSON.stringify(p)}\n`).join("");
  const value = { model: m.name, deltas: delta, data: request.data, examples: predictions.length, seconds };
  if (out === undefined) return { value: { ...value, predictions }, text: lines.trimEnd() };
  writeTextFile(out, lines);
  return { value: { ...value, out }, text: `${predictions.length} answers in ${seconds.toFixed(1)} s, saved to ${out}` };
}

async function completions(
  m: NamedModel,
  asked: Unanswered,
  engine: Engine,
  request: PredictRequest,
  job: JobContext,
): Promise<readonly Prediction[]> {
  const rules = requireText(m);
  const prompts =
    asked.kind === "messages"
      ? asked.rows.map(({ messages }) => ({ row: { messages }, ids: chatPromptIds(rules, messages) }))
      : asked.kind === "prompt"
        ? asked.rows.map(({ prompt }) => ({ row: { prompt }, ids: promptIds(rules, prompt) }))
        : asked.rows.map((r) => ({ row: { prompt: single(r) }, ids: promptIds(rules, single(r)) }));
  // Without a pattern the whole completion is the answer.
  const read = answerReader(request.answer ?? "[^]+");
  const continuations = prompts.map(({ ids }) => continuationOf(rules, ids.length, request));
  const rng = new Rng(request.seed ?? 0);
  const asking = continuations.map(({ options }, i) => ({ ids: prompts[i]!.ids, options: { ...options, rng: rng.split(i) } }));
  const stop = job.signal ? { signal: job.signal } : {};
  let done = 0;
  const onEnd = (): void => job.progress({ phase: "predict", done: ++done, total: prompts.length, unit: "prompt" });
  if (request.votes === undefined) {
    const found = await completeAll(engine, m.model, asking, { count: request.batchSize, ...stop, onEnd });
    return found.map((tokens, i) => {
      const completion = continuations[i]!.text(tokens);
      return { ...prompts[i]!.row, completion, ...(request.answer === undefined ? {} : { answer: read(completion) ?? null }) };
    });
  }
  const generator = await createGenerator(engine, m.model);
  const found: Prediction[] = [];
  for (const [i, { ids, options }] of asking.entries()) {
    const { text } = continuations[i]!;
    const vote = await selfConsistency(generator, ids, {
      ...options,
      ...stop,
      votes: request.votes,
      answerOf: (tokens) => read(text(tokens)),
    });
    found.push({
      ...prompts[i]!.row,
      completion: text(vote.tokens),
      answer: vote.answer ?? null,
      agreement: vote.agreement,
      votes: vote.answers,
    });
    onEnd();
  }
  await generator.dispose();
  return found;
}

async function answers(m: NamedModel, asked: Unanswered, engine: Engine, request: PredictRequest): Promise<readonly Prediction[]> {
  if (request.votes !== undefined || request.answer !== undefined)
    throw new LfmError("CONFIG_INVALID", `lfm: ${m.name} answers with classes or values: there are no ways to vote over`, {
      hint: "--votes and --answer are for language models",
    });
  if (asked.kind !== "text")
    throw new LfmError("CONFIG_INVALID", `lfm: ${m.name} answers texts, and ${request.data} holds ${asked.kind}`, {
      hint: "--columns text=…",
    });
  if (m.model.info.task !== "classifier")
    throw new LfmError("CAPABILITY_MISSING", `lfm: ${m.name} is an ${m.model.info.task} without a head: it answers nothing`, {
      hint: "give the --delta that lfm tune wrote",
    });
  const names = m.model.info.classes === 1 ? undefined : classNames(m);
  const found = await answersTo(engine, m.model, textRows(asked.rows), requireText(m).tokenizer, request);
  const best = classesOf(found);
  return asked.rows.map(({ at, ...row }, i) => {
    if (!names) return { ...row, value: found.logits[i] };
    const probabilities = Object.fromEntries(names.map((name, k) => [name, Math.exp(logProbability(found, i, k))]));
    const label = names[best[i]!]!;
    return { ...row, label, probability: probabilities[label], ...(names.length <= SHOWN ? { probabilities } : {}) };
  });
}

/** Classes whose probabilities all stand in an answer. */
const SHOWN = 10;

/** @throws {LfmError} CONFIG_INVALID for a place where something would be lost */
function requireFreeFile(out: string, overwrite: boolean, data: string): void {
  if (!existsSync(out)) return;
  const refuse = (why: string): LfmError => new LfmError("CONFIG_INVALID", `lfm: ${out} ${why}`, { hint: "choose another --out" });
  if (statSync(out).isDirectory()) throw refuse("is a folder: answers are one file");
  if (!overwrite) throw new LfmError("CONFIG_INVALID", `lfm: ${out} is there already`, { hint: "choose another --out, or --overwrite" });
  if (existsSync(data) && realpathSync(out) === realpathSync(data)) throw refuse("is what is read: it is not replaced");
}
