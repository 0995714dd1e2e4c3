// The thread that jobs run in: the main thread stays free to draw progress and to hear Ctrl-C.
import { serveTask } from "@lfm/core";
import type { JobRequest, VerbName } from "./program/job.js";
import { runHere } from "./program/run-job.js";

serveTask(({ verb, request }: { readonly verb: VerbName; readonly request: JobRequest }, context) => runHere(verb, request, context));
