// Merges by a plan and kills itself when the first tensors are done, as kill -9 would.
import { existsSync, readFileSync } from "node:fs";
import { type MergePlan, runMerge } from "../src/index.js";

const { plan, out } = JSON.parse(readFileSync(process.argv[2]!, "utf8")) as { readonly plan: MergePlan; readonly out: string };
const journal = `${out}.partial/.journal`;
const signal = new AbortController().signal;
Object.defineProperty(signal, "aborted", {
  get: () => {
    if (existsSync(journal) && readFileSync(journal, "utf8").split("\n").length > 2) process.kill(process.pid, "SIGKILL");
    return false;
  },
});
await runMerge(plan, { out, threads: 1, signal });
