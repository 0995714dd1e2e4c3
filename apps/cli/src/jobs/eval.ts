import { type Engine, inputsOf, LfmError, nearestName, parseConfig, runMethod } from "@lfm/core";
import { type Columns, holdsPairs } from "@lfm/data";
import { ensemble } from "@lfm/reuse";
import { dpo, type Goal, requireLearner, reward, taskKind } from "@lfm/tuning";
import { checkGiven } from "../inputs/kinds.js";
import { classNames } from "../inputs/labels.js";
import { type NamedModel, type OpenedModel, requireText, resolveModel, sayLimit } from "../inputs/models.js";
import { openInputs } from "../inputs/openers.js";
import { preferenceRows } from "../inputs/preferences.js";
import { baseWish } from "../inputs/quantized.js";
import { Sources } from "../inputs/sources.js";
import { heldOutRows } from "../inputs/validation.js";
import { type Measured, measureAnswers, measureLanguage, saidOf } from "../outputs/measure.js";
import { measurePreferences } from "../outputs/measure-preferences.js";
import type { JobContext, JobRequest, JobResult } from "../program/job.js";
import { methodContext } from "../program/job-context.js";
import { type PerplexityRequest, perplexityOf } from "./perplexity.js";

export interface EvalRequest extends JobRequest, PerplexityRequest {
  readonly model?: string;
  readonly batchSize: number;
  readonly maxLength: number;
  /** MODEL or MODEL+DELTA, instead of `model`. */
  readonly member?: readonly string[];
  /** A mode or a preset of the ensemble. */
  readonly ensemble?: string;
  readonly weights?: readonly number[];
  readonly columns?: Columns;
  /** Of a text, instead of examples. */
  readonly perplexity?: boolean;
}

/** `lfm eval`: how well a model answers examples, or how well it predicts a text. */
export async function evaluate(request: EvalRequest, job: JobContext): Promise<JobResult> {
  const options = { batchSize: request.batchSize, maxLength: request.maxLength, seed: request.seed ?? 0 };
  const { engine } = await methodContext(request, job);
  const { member, model, delta = [] } = request;
  if ((member === undefined) === (model === undefined) || (member && delta.length > 0))
    throw new LfmError("CONFIG_INVALID", "lfm: eval measures one --model with its --delta, or several --member together", {
      hint: "--member ./a --member ./b+delta",
    });
  const m = member ? await openEnsemble(request, job) : await resolveModel(model!, delta, job, baseWish(request, "batches"));
  if (request.perplexity === true) return perplexityOf(m, request, engine, job);
  const rules = requireText(m);
  sayLimit(m, options.maxLength, job);
  const goal = goalOf(m);
  const choice = { values: goal?.kind === "value", ...(request.columns ? { columns: request.columns } : {}) };
  if (holdsPairs(request.data, choice)) return evaluatePairs(m, request, engine, job);
  const held = heldOutRows(request.data, choice, goal, rules, options.maxLength, (message) => job.log(message));
  const measured: Measured =
    held.kind === "language"
      ? await measureLanguage(engine, m.model, held.rows, options)
      : await measureAnswers(engine, m.model, held.rows, held.goal, rules.tokenizer, options);
  const examples = held.kind === "language" ? held.rows.length : held.rows.texts.length;
  const { metrics, standardErrors, scores } = measured;
  const [figures, ...more] = saidOf(measured);
  return {
    value: { model: m.name, deltas: delta, data: request.data, examples, metrics, standardErrors, ...scores },
    text: [`${m.name}${delta.map((d) => ` + ${d}`).join("")} on ${examples} examples: ${figures}`, ...more].join("\n"),
  };
}

/** How a model prefers, by its scores or its rewards; the base is the model without its deltas. */
async function evaluatePairs(
  m: Pick<NamedModel, "name" | "model" | "text"> & Partial<Pick<NamedModel, "base">>,
  { data, delta = [], columns, batchSize, maxLength }: EvalRequest,
  engine: Engine,
  job: JobContext,
): Promise<JobResult> {
  const objective = m.model.info.classes === 1 ? reward : dpo;
  if (objective === dpo) requireLearner(dpo, m.model);
  const preferences = preferenceRows(data, columns ? { columns } : {}, objective, requireText(m), maxLength, (message) => job.log(message));
  const measured = await measurePreferences(engine, m.model, delta.length > 0 ? m.base : undefined, preferences, { batchSize });
  const { metrics, standardErrors } = measured;
  const pairs = preferences.rows.length;
  return {
    value: { model: m.name, deltas: delta, data, examples: pairs, metrics, standardErrors },
    text: `${m.name}${delta.map((d) => ` + ${d}`).join("")} on ${pairs} pairs: ${saidOf(measured)[0]}`,
  };
}

/** What a model's head answers; undefined for a language model. @throws {LfmError} CONFIG_INVALID for a model without a head */
function goalOf(m: Pick<OpenedModel, "name" | "model">): Goal | undefined {
  if (taskKind(m.model) === "language") return undefined;
  return m.model.info.classes === 1 ? { kind: "value" } : { kind: "classes", names: classNames(m) };
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
