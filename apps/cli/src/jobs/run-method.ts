import { join } from "node:path";
import { type AnyMethod, inputsOf, parseConfig, runMethod } from "@lfm/core";
import { writeTextFile } from "@lfm/formats";
import { openInputs } from "../inputs/openers.js";
import { Sources } from "../inputs/sources.js";
import { writeEvents } from "../outputs/events.js";
import { fileCheckpoint, requireSameRun } from "../outputs/file-checkpoint.js";
import { foundOf, type Said } from "../outputs/found.js";
import { observe } from "../outputs/observers.js";
import { type ResultFolder, withResult } from "../outputs/result-folder.js";
import { type RunIdentity, runIdentity } from "../outputs/run-identity.js";
import { saveFound } from "../outputs/save-found.js";
import { sayFound } from "../outputs/say-found.js";
import { loadMethod } from "../paradigms.js";
import type { JobContext, JobRequest, JobResult } from "../program/job.js";
import { methodContext } from "../program/job-context.js";

export interface MethodRequest extends JobRequest {
  /** `paradigm/id`. */
  readonly method: string;
  readonly out: string;
  readonly overwrite?: boolean;
  /** Drops what a stopped run has saved in the place of the result. */
  readonly fresh?: boolean;
  /** Writes the curves as TensorBoard reads them too. */
  readonly tensorboard?: boolean;
}

/** `lfm tune|distill|merge|meta|edit|retrieve|probe METHOD`: opens what the method declares, runs it, and writes what comes out. */
export async function runOneMethod(request: MethodRequest, job: JobContext): Promise<JobResult> {
  const method = await loadMethod(request.method);
  const config: Readonly<Record<string, unknown>> = parseConfig(method, request.config, request.preset);
  const s = new Sources(request, config, await methodContext(request, job), job, inputsOf(method));
  const place = { overwrite: request.overwrite === true, inputs: s.files, goesOn: true };
  return withResult(request.out, place, (output) => runInto(output, method, s, request));
}

async function runInto(output: ResultFolder, method: AnyMethod, s: Sources, request: MethodRequest): Promise<JobResult> {
  const { config } = s;
  const { method: name, out, fresh = false } = request;
  const identity = (): Promise<RunIdentity> => s.once("identity", () => runIdentity(name, s));
  await requireSameRun(output.partial, identity, fresh);
  const checkpoint = fileCheckpoint(output.partial, identity);
  const given = await openInputs(method, s);
  const look = await observe(inputsOf(method), s);
  const started = performance.now();
  const found = foundOf(await runMethod(method, given, config, { ...s.context, checkpoint }));
  const seconds = (performance.now() - started) / 1000;
  const own = await sayFound(found, s);
  const said: readonly Said[] = [...own, ...(await look(found))];
  const failed = own.find((x) => x.failed !== undefined)?.failed;
  const value = { method: name, ...s.asked(), config, ...Object.assign({}, ...said.map((x) => x.value)), seconds, out };
  const use = await output.finish(async (folder) => {
    const { curves } = found;
    if (curves && request.tensorboard) writeEvents(folder, curves);
    writeTextFile(join(folder, "report.json"), `${JSON.stringify({ ...value, ...(curves ? { curves } : {}) }, null, 2)}\n`);
    return saveFound(found, s, folder, out);
  });
  const text = [`${name}: ${seconds.toFixed(1)} s`, ...said.flatMap((x) => x.lines), `saved to ${out}${use ? `; ${use}` : ""}`];
  return { value, text: text.join("\n"), ...(failed === undefined ? {} : { failed }) };
}
