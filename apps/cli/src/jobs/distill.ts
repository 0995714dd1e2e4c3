import { existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { deltaSize, LfmError, type Model, runMethod } from "@lfm/core";
import { readExamples } from "@lfm/data";
import { type DistillationOutput, distillationMethods } from "@lfm/distillation";
import { initWeights, modelFromConfig, saveModel } from "@lfm/models";
import type { LearningTask } from "@lfm/train";
import { requireTokenizer, resolveModel } from "../inputs/models.js";
import { classificationTask, labelledRows, labelNames, languageRows, languageTask, taskKind } from "../inputs/tasks.js";
import { fileCheckpoint } from "../outputs/file-checkpoint.js";
import type { JobContext, JobRequest, JobResult } from "../program/job.js";
import { methodContext } from "../program/job-context.js";

interface DistillRequest extends JobRequest {
  readonly teacher: string;
  readonly student: string;
  readonly data?: string;
  readonly batchSize: number;
  readonly maxLength: number;
  readonly out: string;
}

/** `lfm distill METHOD`: the student learns from the teacher, on examples or without any. */
export async function distill(request: DistillRequest, job: JobContext): Promise<JobResult> {
  const method = distillationMethods.find((m) => m.id === request.method)!;
  const context = await methodContext(request, job);
  const teacher = await resolveModel(request.teacher, [], job);
  const student = await openStudent(request.student, request.seed ?? 0, job);
  const options = { batchSize: request.batchSize, maxLength: request.maxLength, seed: request.seed ?? 0 };
  const itemShape = teacher.model.info.input === "tokens" ? undefined : shapeOfItem(teacher.model);
  let task: LearningTask | undefined;
  if (request.data !== undefined) {
    const tokenizer = requireTokenizer(teacher);
    const examples = readExamples(request.data);
    task =
      taskKind(teacher.model) === "language"
        ? languageTask(languageRows(examples, tokenizer, options.maxLength), tokenizer.specials.pad ?? 0, options)
        : classificationTask(labelledRows(examples, labelNames(examples)), tokenizer, options);
  }
  const checkpoint = fileCheckpoint(request.out);
  const inputs = { teacher: teacher.model, student, ...(task ? { task } : {}), ...(itemShape ? { itemShape } : {}) };
  const started = performance.now();
  const output = (await runMethod(
    method,
    inputs as never,
    { ...request.config } as never,
    { ...context, checkpoint },
    request.preset,
  )) as DistillationOutput;
  const seconds = (performance.now() - started) / 1000;
  mkdirSync(request.out, { recursive: true });
  await saveModel(request.out, output.student);
  checkpoint.clear();
  const parameters = deltaSize(output.delta);
  const loss = output.curves.loss ?? output.curves.student ?? [];
  const value = {
    method: `distillation/${method.id}`,
    teacher: teacher.name,
    student: request.student,
    parameters,
    monitors: output.monitors,
    loss: { first: loss[0]?.[1] ?? null, last: loss.at(-1)?.[1] ?? null },
    seconds,
    out: request.out,
  };
  writeFileSync(join(request.out, "report.json"), `${JSON.stringify({ ...value, curves: output.curves }, null, 2)}\n`);
  return {
    value,
    text: [
      `${value.method}: student of ${parameters.toLocaleString("en")} parameters, loss ${value.loss.first?.toFixed(4)} → ${value.loss.last?.toFixed(4)} in ${seconds.toFixed(1)} s; saved to ${request.out}`,
      ...output.monitors.map((m) => `${m.warning ? "⚠ " : ""}${m.message}`),
    ].join("\n"),
  };
}

/** A folder with weights goes on from them; one with config.json alone starts fresh. */
async function openStudent(folder: string, seed: number, job: JobContext): Promise<Model> {
  const config = join(folder, "config.json");
  if (existsSync(config) && !existsSync(join(folder, "model.safetensors")) && !existsSync(join(folder, "model.safetensors.index.json"))) {
    const parsed = JSON.parse(readFileSync(config, "utf8")) as Record<string, unknown>;
    return modelFromConfig(parsed, initWeights(modelFromConfig(parsed).info, { seed }));
  }
  return (await resolveModel(folder, [], job)).model;
}

function shapeOfItem(model: Model): readonly number[] {
  const { config, input } = model.info;
  if (input === "features") return [config.input_size as number];
  const [channels, size] = [(config.channels ?? config.num_channels) as number, config.image_size as number];
  if (!channels || !size)
    throw new LfmError("CONFIG_INVALID", `lfm: the config of ${model.info.architecture} does not say the size of its images`);
  return [channels, size, size];
}
