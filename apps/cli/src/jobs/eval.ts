import { inputsOf, LfmError, nearestName, parseConfig, runMethod } from "@lfm/core";
import { readExamples } from "@lfm/data";
import { ensemble } from "@lfm/reuse";
import { checkGiven } from "../inputs/kinds.js";
import { classNames } from "../inputs/labels.js";
import { type OpenedModel, requireText, resolveModel } from "../inputs/models.js";
import { openInputs } from "../inputs/openers.js";
import { Sources } from "../inputs/sources.js";
import { labelledRows, languageRows, taskKind } from "../inputs/tasks.js";
import { measureClassifier, measureLanguage } from "../outputs/measure.js";
import { numbers } from "../outputs/observers.js";
import type { JobContext, JobRequest, JobResult } from "../program/job.js";
import { methodContext } from "../program/job-context.js";

export interface EvalRequest extends JobRequest {
  readonly model?: string;
  readonly data: string;
  readonly delta?: readonly string[];
  readonly batchSize: number;
  readonly maxLength: number;
  /** MODEL or MODEL+DELTA, instead of `model`. */
  readonly member?: readonly string[];
  /** A mode or a preset of the ensemble. */
  readonly ensemble?: string;
  readonly weights?: readonly number[];
}

/** `lfm eval`: loss and exact match of a language model, or accuracy of a classifier, on examples. */
export async function evaluate(request: EvalRequest, job: JobContext): Promise<JobResult> {
  const options = { batchSize: request.batchSize, maxLength: request.maxLength, seed: request.seed ?? 0 };
  const context = await methodContext(request, job);
  const { member, model, delta = [] } = request;
  if ((member === undefined) === (model === undefined) || (member && delta.length > 0))
    throw new LfmError("CONFIG_INVALID", "lfm: eval measures one --model with its --delta, or several --member together", {
      hint: "--member ./a --member ./b+delta",
    });
  const m = member ? await openEnsemble(request, job) : await resolveModel(model!, delta, job);
  const rules = requireText(m);
  const examples = readExamples(request.data);
  const metrics =
    taskKind(m.model) === "language"
      ? await measureLanguage(context.engine, m.model, languageRows(examples, rules, options.maxLength), options)
      : await measureClassifier(context.engine, m.model, labelledRows(examples, classNames(m)), rules.tokenizer, options);
  return {
    value: { model: m.name, deltas: delta, data: request.data, examples: examples.rows.length, metrics },
    text: `${m.name}${delta.map((d) => ` + ${d}`).join("")} on ${examples.rows.length} examples: ${numbers(metrics)}`,
  };
}

/** Models that answer together, as one model; tokenizer and names of classes are the first one's. */
async function openEnsemble(request: EvalRequest, job: JobContext): Promise<Pick<OpenedModel, "name" | "model" | "text">> {
  const { ensemble: asked = "probabilities", weights, member = [] } = request;
  const config = parseConfig(ensemble, { mode: modeOf(asked), ...(weights ? { weights } : {}) });
  const inputs = inputsOf(ensemble);
  await checkGiven(asked, inputs, config, request);
  const s = new Sources(request, config, await methodContext(request, job), job, inputs);
  const given = await openInputs(ensemble, s);
  const { model, weights: used } = await runMethod(ensemble, given, config, s.context);
  if (config.mode === "weighted" && weights === undefined)
    job.log(`weights: ${used.map((w, i) => `${member[i]} ${w.toFixed(3)}`).join(", ")}`);
  return { ...(await s.reader()), name: `${asked} of ${member.join(", ")}`, model };
}

function modeOf(asked: string): string {
  const modes = ensemble.config.shape.mode.unwrap().options;
  const found = ensemble.presets?.[asked]?.config.mode ?? modes.find((m) => m === asked);
  if (found) return found;
  const names = [...modes, ...Object.keys(ensemble.presets ?? {})];
  const near = nearestName(asked, names);
  throw new LfmError("CONFIG_INVALID", `lfm: members cannot answer by "${asked}"`, {
    hint: near ? `did you mean "${near}"?` : `one of ${names.join(", ")}`,
  });
}
