import type { JobContext, JobRequest, JobResult, RunJob, VerbName } from "./job.js";

/** Each job reads a request of its own. @param run runs jobs that it is made of, as it is run itself */
type Job = (request: never, context: JobContext, run: RunJob) => Promise<JobResult>;

interface JobEntry {
  /** One import per verb: a job loads only the packages that it needs. */
  readonly load: () => Promise<Job>;
  /** Jobs that start threads of their own: that are often over before another one is up, or are made of other jobs. */
  readonly ownThreads?: true;
}

const jobs: Readonly<Record<VerbName, JobEntry>> = {
  method: { load: async () => (await import("../jobs/run-method.js")).runOneMethod },
  plan: { load: async () => (await import("../jobs/plan.js")).plan },
  sweep: { load: async () => (await import("../jobs/sweep.js")).sweep, ownThreads: true },
  merge: { load: async () => (await import("../jobs/merge.js")).merge, ownThreads: true },
  "task-vector": { load: async () => (await import("../jobs/task-vector.js")).taskVector, ownThreads: true },
  student: { load: async () => (await import("../jobs/student.js")).makeStudentFolder },
  stats: { load: async () => (await import("../jobs/stats.js")).stats },
  trace: { load: async () => (await import("../jobs/trace.js")).trace },
  lens: { load: async () => (await import("../jobs/lens.js")).lens },
  where: { load: async () => (await import("../jobs/where.js")).where },
  index: { load: async () => (await import("../jobs/index-documents.js")).indexDocuments },
  search: { load: async () => (await import("../jobs/search.js")).search },
  ask: { load: async () => (await import("../jobs/ask.js")).ask },
  generate: { load: async () => (await import("../jobs/generate.js")).generate },
  serve: { load: async () => (await import("../jobs/serve.js")).serve },
  convert: { load: async () => (await import("../jobs/convert.js")).convert },
  predict: { load: async () => (await import("../jobs/predict.js")).predict },
  export: { load: async () => (await import("../jobs/export.js")).exportModel },
  patch: { load: async () => (await import("../jobs/patch.js")).patch },
  "eval-edits": { load: async () => (await import("../jobs/eval-edits.js")).evalEdits },
  "meta-adapt": { load: async () => (await import("../jobs/meta-answers.js")).adapt },
  "meta-eval": { load: async () => (await import("../jobs/meta-answers.js")).evaluateEpisodes },
  eval: { load: async () => (await import("../jobs/eval.js")).evaluate },
};

/** In the thread that calls. */
export const runHere: RunJob = (verb, request, context) => runLoaded(verb, request, context, runHere);

/**
 * The cast: a verb's request comes from commander, by the flags that the same verb declares; that they are what its job reads, no type can say.
 */
async function runLoaded(verb: VerbName, request: JobRequest, context: JobContext, run: RunJob): Promise<JobResult> {
  const job = await jobs[verb].load();
  try {
    return await job(request as never, context, run);
  } catch (error) {
    // Here, for an error that leaves the thread is words alone.
    throw (await import("./known-error.js")).knownError(error);
  }
}

/** In a thread of its own, so that the caller stays free to draw progress and to hear Ctrl-C. */
export const runInThread: RunJob = async (verb, request, context) => {
  if (jobs[verb].ownThreads) return runLoaded(verb, request, context, runInThread);
  const { runTask } = await import("@lfm/core");
  return runTask<JobResult>(new URL("./job-worker.js", workerBase()), { verb, request }, context);
};

/** The folder of worker entries: `src/` from the sources (this file lies one deeper), `dist/` from the build. */
function workerBase(): URL {
  const here = new URL(import.meta.url);
  return here.pathname.endsWith(".ts") ? new URL("../", here) : new URL("./", here);
}
