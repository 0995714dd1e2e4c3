// The thread that jobs run in: the main thread stays free to draw progress and to hear Ctrl-C.
import { serveTask } from "@lfm/core";
import type { JobContext } from "./jobs/context.js";
import type { JobRequest, JobResult, StreamVerb, VerbName } from "./verbs.js";

type Job = (request: never, context: JobContext) => Promise<JobResult>;

/** One import per verb: a job loads only the packages that it needs. */
const jobs: Readonly<Record<Exclude<VerbName, StreamVerb>, () => Promise<Job>>> = {
  tune: async () => (await import("./jobs/tune.js")).tune,
  distill: async () => (await import("./jobs/distill.js")).distill,
  "merge-models": async () => (await import("./jobs/merge-models.js")).mergeModels,
  "merge-adapters": async () => (await import("./jobs/merge-adapters.js")).mergeAdapters,
  stats: async () => (await import("./jobs/stats.js")).stats,
  meta: async () => (await import("./jobs/meta.js")).meta,
  edit: async () => (await import("./jobs/edit.js")).edit,
  index: async () => (await import("./jobs/index-documents.js")).indexDocuments,
  search: async () => (await import("./jobs/search.js")).search,
  generate: async () => (await import("./jobs/generate.js")).generate,
  eval: async () => (await import("./jobs/eval.js")).evaluate,
};

serveTask(async ({ verb, request }: { readonly verb: Exclude<VerbName, StreamVerb>; readonly request: JobRequest }, context) =>
  (await jobs[verb]())(request as never, context),
);
