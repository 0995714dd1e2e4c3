import { parseMergeConfig, planMerge, reuseMethods, runMerge } from "@lfm/reuse";
import { briefError } from "./runner/brief-error.js";
import { type FileMerge, type FileMergeEnd, LIMITS } from "./runner/file-merge.js";
import { watchPeakMemory } from "./runner/peak-memory.js";

/** A process of its own that merges files once: what it holds is the merge's, and nothing that cells before it left behind. */
async function merge({ yaml, folder, out, seed }: FileMerge): Promise<FileMergeEnd> {
  const memory = watchPeakMemory();
  try {
    const [document] = parseMergeConfig(yaml);
    const plan = await planMerge(document!, { folder, methods: reuseMethods, seed });
    const { seconds, bytesRead, bytesWritten } = await runMerge(plan, { out, ...LIMITS });
    return { status: "ok", report: { seconds, bytesRead, bytesWritten, peakRssBytes: memory.stop() } };
  } catch (error) {
    return { status: "failed", error: briefError(error) };
  }
}

process.once("message", (job: FileMerge) => {
  void merge(job).then((end) => process.send!(end, () => process.disconnect()));
});
