import { rmSync } from "node:fs";
import { join } from "node:path";
import { type AnyMethod, LfmError, type Metric } from "@lfm/core";
import { type MergeMethod, mergeMethods } from "@lfm/reuse";
import { LIMITS, mergeFilesApart } from "../../runner/file-merge.js";
import type { Scenario } from "../../scenario.js";
import { writeLlamaFiles } from "./llama-files.js";

/** Models that are merged besides a base, where a method takes that many. */
const MODELS = 3;

/** How fast files become a file, and in how much memory; nothing is asked of the merged model. */
export const mergeFiles: Scenario = {
  id: "merge-files",
  paradigm: "reuse",
  model: "llama-shaped",
  summary: `${MODELS} Llama-shaped bf16 checkpoints of 63 MB (fewer where a method takes fewer; and their base, where it has one) are merged into one by one thread of a process of its own, files in the cache; the rate counts what is read, in every pass, and written.`,
  headline: "rate",
  access: ["weights"],
  run: async ({ method, config }, context) => {
    const { seed, signal } = context;
    const merge = mergeOf(method);
    const files = await context.shared(
      "merge-files checkpoints",
      () => writeLlamaFiles(context),
      ({ remove }) => remove(),
    );
    const out = join(files.folder, "merged");
    const started = performance.now();
    try {
      const report = await mergeFilesApart({ yaml: configuration(merge, config), folder: files.folder, out, seed }, signal);
      const moved = report.bytesRead + report.bytesWritten;
      return {
        metrics: {
          rate: {
            value: moved / 1e6 / report.seconds,
            unit: "MB/s",
            higherIsBetter: true,
            note: "bytes read and written a second, in 1e6",
          },
          mergeTime: cost(1000 * report.seconds, "ms", "from the plan to the finished folder"),
          moved: cost(moved, "bytes", "read and written; a method that needs several passes reads its inputs several times"),
          peakMemory: cost(report.peakRssBytes, "bytes", "most resident memory of the process that merges, Node and the program included"),
          plannedMemory: cost(LIMITS.maxMemory, "bytes", "what the plan keeps below: maxMemory"),
        },
        retention: null,
        trainableParams: 0,
        bytes: null,
        queries: 0,
        dataUsed: 0,
        monitors: [],
        curves: {},
        phasesMs: { merge: 1000 * report.seconds, process: performance.now() - started - 1000 * report.seconds },
      };
    } finally {
      for (const folder of [out, `${out}.partial`]) rmSync(folder, { recursive: true, force: true });
    }
  },
};

/** @throws {LfmError} OP_UNSUPPORTED for methods that need more than files of weights */
function mergeOf(method: AnyMethod): MergeMethod {
  const found = mergeMethods.find((m) => m.id === method.id);
  if (found) return found;
  throw new LfmError("OP_UNSUPPORTED", `[@lfm/bench] merge-files: ${method.id} does not merge from files of weights alone`, {
    hint: `methods that do: ${mergeMethods.map((m) => m.id).join(", ")}`,
  });
}

/** The cell as a user of mergekit would write it: every option spelled out, so that no preset or default of a name counts. */
export function configuration({ id, merging }: MergeMethod, config: Readonly<Record<string, unknown>>): string {
  const pick = (names: object, i: number): Record<string, unknown> =>
    Object.fromEntries(Object.keys(names).flatMap((name) => (config[name] === undefined ? [] : [[name, ofModel(config[name], i)]])));
  const models = Array.from({ length: Math.min(MODELS, merging.models[1]) }, (_, i) => ({
    model: `model-${i + 1}`,
    parameters: pick(merging.perModel.shape, i),
  }));
  return JSON.stringify({
    merge_method: merging.mergekit[0] ?? id,
    ...(merging.base === "required" ? { base_model: "base" } : {}),
    models: merging.base === "required" ? [...models, { model: "base" }] : models,
    parameters: pick(merging.shared.shape, 0),
    dtype: "bfloat16",
  });
}

/** One value for all, or one per model. */
function ofModel(value: unknown, i: number): unknown {
  return Array.isArray(value) ? value[i] : value;
}

function cost(value: number, unit: string, note: string): Metric {
  return { value, unit, higherIsBetter: false, note };
}
