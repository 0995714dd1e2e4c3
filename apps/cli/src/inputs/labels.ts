import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { LfmError, type Model } from "@lfm/core";

/** Names of classes that stand beside the last delta that learned them; undefined where none did. */
export function learnedClasses(deltas: readonly string[]): readonly string[] | undefined {
  const file = deltas.map((folder) => join(folder, "labels.json")).findLast(existsSync);
  return file === undefined ? undefined : (JSON.parse(readFileSync(file, "utf8")) as string[]);
}

/** Names of a model's classes, by `id2label` of its config. @throws {LfmError} CONFIG_INVALID */
export function classNames({ name, model }: { readonly name: string; readonly model: Model }): readonly string[] {
  const { id2label } = model.info.config as { readonly id2label?: Readonly<Record<string, string>> };
  if (id2label)
    return Object.entries(id2label)
      .sort(([a], [b]) => Number(a) - Number(b))
      .map(([, label]) => label);
  throw new LfmError("CONFIG_INVALID", `lfm: no names of classes: neither a delta nor the config of ${name} has them`, {
    hint: "give the --delta that lfm tune wrote",
  });
}
