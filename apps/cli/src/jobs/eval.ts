import { LfmError } from "@lfm/core";
import { readExamples } from "@lfm/data";
import { type EnsembleRequest, openEnsemble } from "../inputs/ensembles.js";
import { classNames } from "../inputs/labels.js";
import { requireTokenizer, resolveModel } from "../inputs/models.js";
import { labelledRows, languageRows, taskKind } from "../inputs/tasks.js";
import { measureClassifier, measureLanguage } from "../outputs/measure.js";
import type { JobContext, JobRequest, JobResult } from "../program/job.js";
import { methodContext } from "../program/job-context.js";

export interface EvalRequest extends JobRequest, Partial<EnsembleRequest> {
  readonly model?: string;
  readonly data: string;
  readonly delta?: readonly string[];
  readonly batchSize: number;
  readonly maxLength: number;
}

/** `lfm eval`: loss and exact match of a language model, or accuracy of a classifier, on examples. */
export async function evaluate(request: EvalRequest, job: JobContext): Promise<JobResult> {
  const options = { batchSize: request.batchSize, maxLength: request.maxLength, seed: request.seed ?? 0 };
  const context = await methodContext(request, job);
  const { engine } = context;
  const { member, model, delta = [] } = request;
  if ((member === undefined) === (model === undefined) || (member && delta.length > 0))
    throw new LfmError("CONFIG_INVALID", "lfm: eval measures one --model with its --delta, or several --member together", {
      hint: "--member ./a --member ./b+delta",
    });
  const m = member ? await openEnsemble({ ...request, member }, options, context, job) : await resolveModel(model!, delta, job);
  const tokenizer = requireTokenizer(m);
  const examples = readExamples(request.data);
  const metrics =
    taskKind(m.model) === "language"
      ? await measureLanguage(engine, m.model, languageRows(examples, tokenizer, options.maxLength), tokenizer, options)
      : await measureClassifier(engine, m.model, labelledRows(examples, classNames(m)), tokenizer, options);
  return {
    value: { model: m.name, deltas: delta, data: request.data, examples: examples.rows.length, metrics },
    text: `${m.name}${delta.map((d) => ` + ${d}`).join("")} on ${examples.rows.length} examples: ${Object.entries(metrics)
      .map(([k, v]) => `${k} ${v.toFixed(4)}`)
      .join(", ")}`,
  };
}
