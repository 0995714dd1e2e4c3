import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { deltaBytes, deltaSize, LfmError, runMethod } from "@lfm/core";
import { type Examples, readExamples } from "@lfm/data";
import { saveDelta } from "@lfm/formats";
import { withClassifier } from "@lfm/models";
import { trainableParams } from "@lfm/train";
import { toPeft, tuningMethods } from "@lfm/tuning";
import { requireTokenizer, resolveModel } from "../inputs/models.js";
import { classificationTask, labelledRows, labelNames, languageRows, languageTask, taskKind } from "../inputs/tasks.js";
import { fileCheckpoint } from "../outputs/file-checkpoint.js";
import { measureClassifier, measureLanguage } from "../outputs/measure.js";
import type { JobContext, JobRequest, JobResult } from "../program/job.js";
import { methodContext } from "../program/job-context.js";
import { formatBytes } from "../render/table.js";

interface TuneRequest extends JobRequest {
  readonly model: string;
  readonly data: string;
  readonly valid?: string;
  readonly batchSize: number;
  readonly maxLength: number;
  readonly alsoTrain?: readonly string[];
  readonly out: string;
}

/** `lfm tune METHOD`: trains a delta on examples and saves it; validation examples are only measured. */
export async function tune(request: TuneRequest, job: JobContext): Promise<JobResult> {
  const method = tuningMethods.find((m) => m.id === request.method)!;
  const context = await methodContext(request, job);
  const base = await resolveModel(request.model, [], job);
  const tokenizer = requireTokenizer(base);
  const train = readExamples(request.data);
  const valid = request.valid === undefined ? undefined : readExamples(request.valid);
  const options = { batchSize: request.batchSize, maxLength: request.maxLength, seed: request.seed ?? 0 };
  const kind = taskKind(base.model);
  const labels = kind === "classification" ? labelNames(train) : undefined;
  const model = labels ? withClassifier(base.model, labels.length, options.seed) : base.model;
  // A head that the checkpoint does not have is part of what is learned.
  const fresh = Object.keys(model.info.params).filter((name) => !(name in base.model.params) && model.info.params[name]!.trainable);
  const task = labels
    ? classificationTask(labelledRows(train, labels), tokenizer, options)
    : languageTask(languageRows(train, tokenizer, request.maxLength), tokenizer.specials.pad ?? 0, options);
  const measure = async (m: typeof model, examples: Examples): Promise<Record<string, number>> =>
    labels
      ? measureClassifier(context.engine, m, labelledRows(examples, labels), tokenizer, options)
      : measureLanguage(context.engine, m, languageRows(examples, tokenizer, request.maxLength), tokenizer, options);
  const before = valid && !labels ? await measure(model, valid) : undefined;
  const checkpoint = fileCheckpoint(request.out);
  const inputs = { model, task, parent: base.hash, alsoTrain: [...fresh, ...(request.alsoTrain ?? [])] };
  const started = performance.now();
  const output = (await runMethod(
    method,
    inputs as never,
    { ...request.config } as never,
    { ...context, checkpoint },
    request.preset,
  )) as import("@lfm/tuning").TuningOutput;
  const seconds = (performance.now() - started) / 1000;
  mkdirSync(request.out, { recursive: true });
  await saveDelta(request.out, output.delta);
  // What PEFT knows too is written in its form as well, so that Python loads the same folder.
  const forPeft =
    output.delta.method === "tuning/lora" || (output.delta.method === "tuning/prompt" && Object.keys(output.delta.tensors).length === 1);
  if (forPeft) await toPeft(request.out, output.delta, model, { base: request.model });
  if (labels) writeFileSync(join(request.out, "labels.json"), `${JSON.stringify(labels)}\n`);
  const after = valid ? await measure(output.model, valid) : undefined;
  checkpoint.clear();
  const loss = output.curves.loss ?? [];
  const value = {
    method: `tuning/${method.id}`,
    model: base.name,
    parent: base.hash,
    config: output.delta.config,
    examples: train.rows.length,
    trainedParams: deltaSize(output.delta),
    totalParams: Object.values(trainableParams(model)).reduce((n, t) => n + t.data.length, 0),
    bytes: deltaBytes(output.delta),
    seconds,
    loss: { first: loss[0]?.[1] ?? null, last: loss.at(-1)?.[1] ?? null },
    valid: valid ? { before: before ?? null, after: after ?? null } : null,
    out: request.out,
  };
  writeFileSync(join(request.out, "report.json"), `${JSON.stringify({ ...value, curves: output.curves }, null, 2)}\n`);
  if (!Number.isFinite(value.loss.last ?? Number.NaN)) throw new LfmError("INTERNAL", "lfm: training ended without a loss");
  const measured = (m: Record<string, number> | undefined): string =>
    Object.entries(m ?? {})
      .map(([k, v]) => `${k} ${v.toFixed(4)}`)
      .join(", ");
  const text = [
    `${value.method} on ${base.name}: loss ${value.loss.first!.toFixed(4)} → ${value.loss.last!.toFixed(4)} in ${seconds.toFixed(1)} s`,
    `trained ${value.trainedParams.toLocaleString("en")} of ${value.totalParams.toLocaleString("en")} parameters (${formatBytes(value.bytes)})`,
    ...(after ? [`held-out: ${before ? `${measured(before)} → ` : ""}${measured(after)}`] : []),
    `saved to ${request.out}; use it with --delta ${request.out}${forPeft ? ", or in Python with PeftModel.from_pretrained" : ""}`,
  ].join("\n");
  return { value, text };
}
