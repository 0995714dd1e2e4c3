import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { inputsOf, parseConfig, runMethod } from "@lfm/core";
import { openInputs } from "../inputs/openers.js";
import { Sources } from "../inputs/sources.js";
import { fileCheckpoint } from "../outputs/file-checkpoint.js";
import { foundOf, type Said } from "../outputs/found.js";
import { observe } from "../outputs/observers.js";
import { openResult } from "../outputs/result-folder.js";
import { saveFound } from "../outputs/save-found.js";
import { sayFound } from "../outputs/say-found.js";
import { loadMethod } from "../paradigms.js";
import type { JobContext, JobRequest, JobResult } from "../program/job.js";
import { methodContext } from "../program/job-context.js";

export interface MethodRequest extends JobRequest {
  /** `paradigm/id`. */
  readonly method: string;
  readonly out: string;
}

/** `lfm tune|distill|merge|meta|edit|retrieve METHOD`: opens what the method declares, runs it, and writes what comes out. */
export async function runOneMethod(request: MethodRequest, job: JobContext): Promise<JobResult> {
  const method = await loadMethod(request.method);
  const config: Readonly<Record<string, unknown>> = parseConfig(method, request.config, request.preset);
  const inputs = inputsOf(method);
  const s = new Sources(request, config, await methodContext(request, job), job, inputs);
  const output = openResult(request.out, { overwrite: request.overwrite === true, inputs: s.files });
  const checkpoint = fileCheckpoint(output.partial);
  const given = await openInputs(method, s);
  const look = await observe(inputs, s);
  const started = performance.now();
  const found = foundOf(await runMethod(method, given, config, { ...s.context, checkpoint }));
  const seconds = (performance.now() - started) / 1000;
  const said: readonly Said[] = [...(await sayFound(found, s)), ...(await look(found))];
  const value = {
    method: request.method,
    ...s.asked(),
    config,
    ...Object.assign({}, ...said.map((x) => x.value)),
    seconds,
    out: request.out,
  };
  let use = "";
  await output.finish(async (folder) => {
    use = await saveFound(found, s, folder, request.out);
    const { curves } = found;
    writeFileSync(join(folder, "report.json"), `${JSON.stringify({ ...value, ...(curves ? { curves } : {}) }, null, 2)}\n`);
  });
  const text = [
    `${request.method}: ${seconds.toFixed(1)} s`,
    ...said.flatMap((x) => x.lines),
    `saved to ${request.out}${use ? `; ${use}` : ""}`,
  ];
  return { value, text: text.join("\n") };
}
