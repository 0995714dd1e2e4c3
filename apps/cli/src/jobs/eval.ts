import { readExamples } from "@lfm/data";
import { classNames } from "../inputs/labels.js";
import { engineOf, requireTokenizer, resolveModel } from "../inputs/models.js";
import { labelledRows, languageRows, taskKind } from "../inputs/tasks.js";
import type { JobRequest, JobResult } from "../verbs.js";
import type { JobContext } from "./context.js";
import { measureClassifier, measureLanguage } from "./measure.js";

export interface EvalRequest extends JobRequest {
  readonly model: string;
  readonly data: string;
  readonly delta?: readonly string[];
  readonly batchSize: number;
  readonly maxLength: number;
}

/** `lfm eval`: loss and exact match of a language model, or accuracy of a classifier, on examples. */
export async function evaluate(request: EvalRequest, job: JobContext): Promise<JobResult> {
  const m = await resolveModel(request.model, request.delta ?? [], job);
  const tokenizer = requireTokenizer(m);
  const engine = await engineOf(request);
  const examples = readExamples(request.data);
  const options = { batchSize: request.batchSize, maxLength: request.maxLength, seed: request.seed ?? 0 };
  const metrics =
    taskKind(m.model) === "language"
      ? await measureLanguage(engine, m.model, languageRows(examples, tokenizer, options.maxLength), tokenizer, options)
      : await measureClassifier(engine, m.model, labelledRows(examples, classNames(request.model, request.delta)), tokenizer, options);
  return {
    value: { model: m.name, deltas: request.delta ?? [], data: request.data, examples: examples.rows.length, metrics },
    text: `${m.name}${request.delta ? ` + ${request.delta.join(" + ")}` : ""} on ${examples.rows.length} examples: ${Object.entries(metrics)
      .map(([k, v]) => `${k} ${v.toFixed(4)}`)
      .join(", ")}`,
  };
}
