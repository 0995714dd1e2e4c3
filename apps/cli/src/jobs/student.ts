import { join } from "node:path";
import { LfmError, type Model, sizeOf } from "@lfm/core";
import { type MadeStudent, makeStudent, type StudentOptions } from "@lfm/distillation";
import { readJsonObject, writeTextFile } from "@lfm/formats";
import { initWeights, modelFromConfig, saveModel } from "@lfm/models";
import { type OpenedModel, openPlain } from "../inputs/models.js";
import { withResult } from "../outputs/result-folder.js";
import { saveWhole } from "../outputs/save-found.js";
import type { JobContext, JobRequest, JobResult } from "../program/job.js";

interface StudentRequest extends JobRequest, StudentOptions {
  readonly out: string;
  readonly teacher?: string;
  /** A config.json. */
  readonly shape?: string;
  readonly overwrite?: boolean;
}

/** `lfm student`: a smaller model, and student.json with how it began. */
export async function makeStudentFolder(request: StudentRequest, job: JobContext): Promise<JobResult> {
  const { out, teacher: name, shape, seed = 0, overwrite = false } = request;
  if (name === undefined && shape === undefined)
    throw new LfmError("CONFIG_INVALID", "lfm: a student is made of a teacher, or from a config", {
      hint: "lfm student --teacher ./model --every 2 ./student",
    });
  const inputs = [name, shape].filter((f) => f !== undefined);
  return withResult(out, { overwrite, inputs }, async ({ finish }) => {
    const teacher = name === undefined ? undefined : await openPlain(name, job);
    const { model, initialisation } = shape === undefined ? makeStudent(teacher!.model, request) : freshStudent(shape, seed, request);
    const record = { ...initialisation, ...(teacher ? { teacher: { name: teacher.name, hash: await teacher.hash() } } : {}) };
    await finish(async (folder) => {
      if (teacher) await saveWhole(folder, { model, folder: teacher.folder });
      else await saveModel(folder, model);
      writeTextFile(join(folder, "student.json"), `${JSON.stringify(record, null, 2)}\n`);
    });
    const parameters = parametersOf(model);
    const of = teacher ? ` of ${parametersOf(teacher.model).toLocaleString("en")}` : "";
    const use = `lfm distill logit-kd --teacher ${name ?? "./teacher"} --student ${out} --data examples.jsonl`;
    return {
      value: { out, parameters, ...record },
      text: `${model.info.architecture}: ${model.info.layers} layers, width ${model.info.hiddenSize}, ${parameters.toLocaleString("en")}${of} parameters\nsaved to ${out}; ${use}`,
    };
  });
}

interface FreshStudent {
  readonly model: Model;
  readonly initialisation: { readonly from: "config"; readonly seed: number };
}

/** @throws {LfmError} CONFIG_INVALID for options that only a teacher is cut by */
function freshStudent(file: string, seed: number, request: StudentRequest): FreshStudent | MadeStudent {
  const cut = (["layers", "every", "width", "inner"] as const).find((option) => request[option] !== undefined);
  if (cut)
    throw new LfmError("CONFIG_INVALID", `lfm: --shape says all of the student's sizes; --${cut} is of one that is made of its teacher`, {
      hint: `leave --${cut} or --shape out`,
    });
  const config = readJsonObject(file);
  return { model: modelFromConfig(config, initWeights(modelFromConfig(config).info, { seed })), initialisation: { from: "config", seed } };
}

function parametersOf({ info }: OpenedModel["model"]): number {
  return Object.values(info.params).reduce((n, { shape, trainable }) => (trainable ? n + sizeOf(shape) : n), 0);
}
