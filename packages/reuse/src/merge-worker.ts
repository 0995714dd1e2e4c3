// One thread of a merge. It looks for a request to stop between chunks.
import { serveTask } from "@lfm/core";
import { type MergeJob, mergeThread } from "./merging/merge-thread.js";

serveTask(async (job: MergeJob, context) => mergeThread(job, context));
