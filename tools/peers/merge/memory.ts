import { statSync } from "node:fs";
import { join } from "node:path";
import { machine, writeResult } from "../record.js";
import { inScratch, makeModels, mergeOurs, mergeTheirs, versions, writeConfig } from "./sides.js";

const MIB = 2 ** 20;

/** `npm run peers -- merge-memory`: peak memory of merging three models of 1 GB with an embedding of 500 MB, and of 2 GB. */
export async function mergeMemory(): Promise<void> {
  const rows: Record<string, unknown> = {};
  let found: Readonly<Record<string, string>> = {};
  for (const size of ["1gb", "2gb"])
    await inScratch(async (folder) => {
      await makeModels(folder, "llama", size, 2, "bfloat16");
      const bytes = statSync(join(folder, "base/model.safetensors")).size;
      const yaml = (method: string): string =>
        `merge_method: ${method}\nbase_model: ./base\nmodels:\n  - {model: ./model-1, parameters: {weight: 0.5, density: 0.5}}\n  - {model: ./model-2, parameters: {weight: 0.5, density: 0.5}}\ndtype: bfloat16\n`;
      for (const method of ["ties", "task_arithmetic"]) {
        const config = writeConfig(folder, method, method === "ties" ? yaml(method) : yaml(method).replaceAll(", density: 0.5", ""));
        const ours = await mergeOurs(folder, config, "ours");
        const theirs = size === "1gb" ? await mergeTheirs(folder, config, "theirs") : null;
        rows[`${method}-${size}`] = {
          modelBytes: bytes,
          oursPeakRssBytes: ours.peakRssBytes,
          theirsPeakRssBytes: theirs?.peakRssBytes ?? null,
          oursMs: ours.ms,
          theirsMs: theirs?.ms ?? null,
          reached: ours.peakRssBytes <= 400 * MIB,
        };
        console.log(
          `${method}, three models of ${(bytes / 1e9).toFixed(2)} GB: ours ${(ours.peakRssBytes / MIB).toFixed(0)} MiB${theirs ? `, mergekit ${(theirs.peakRssBytes / MIB).toFixed(0)} MiB` : ""} (target 400)`,
        );
      }
      found = await versions(folder);
    });
  writeResult("merge-memory", {
    name: "merge-memory",
    what: "peak resident memory of a merge, three models in bf16",
    targetBytes: 400 * MIB,
    rows,
    versions: found,
    machine,
    date: new Date().toISOString().slice(0, 10),
  });
}
