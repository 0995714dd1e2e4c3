import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { LfmError } from "@lfm/core";

/**
 * Names of classes: written beside the last delta that learned them, or in the model's config.
 * @throws {LfmError} CONFIG_INVALID
 */
export function classNames(model: string, deltas: readonly string[] = []): readonly string[] {
  for (const folder of [...deltas].reverse()) {
    const file = join(folder, "labels.json");
    if (existsSync(file)) return JSON.parse(readFileSync(file, "utf8")) as string[];
  }
  const config = join(model, "config.json");
  if (existsSync(config)) {
    const { id2label } = JSON.parse(readFileSync(config, "utf8")) as { readonly id2label?: Readonly<Record<string, string>> };
    if (id2label)
      return Object.entries(id2label)
        .sort(([a], [b]) => Number(a) - Number(b))
        .map(([, name]) => name);
  }
  throw new LfmError("CONFIG_INVALID", `lfm: no names of classes: neither a delta nor ${config} has them`, {
    hint: "give the --delta that lfm tune wrote",
  });
}
