import { existsSync } from "node:fs";
import { join } from "node:path";
import { LfmError, type Model } from "@lfm/core";
import { readJsonFile } from "@lfm/formats";
import { z } from "zod";

const labelList = z.array(z.string()).min(1);

/**
 * Names of classes that stand beside the last delta that learned them; undefined where none did.
 * @param classes how many the model has, where it is a classifier
 * @throws {LfmError} FILE_FORMAT for a labels.json that is no list of names, or of another number
 */
export function learnedClasses(deltas: readonly string[], classes: number | undefined): readonly string[] | undefined {
  const names = deltas.flatMap((folder) => ["head_config.json", "labels.json"].map((name) => join(folder, name)));
  const file = names.findLast(existsSync);
  if (file === undefined) return undefined;
  const read = readJsonFile(file);
  const own = file.endsWith("head_config.json") ? namesByNumber(read) : read;
  if (own === undefined) return undefined;
  const { data } = labelList.safeParse(own);
  if (!data) throw new LfmError("FILE_FORMAT", `lfm: ${file} is no list of names of classes`);
  if (classes !== undefined && data.length !== classes)
    throw new LfmError("FILE_FORMAT", `lfm: ${file} names ${data.length} classes, the model has ${classes}`);
  return data;
}

const numbers = z.looseObject({ label2id: z.record(z.string(), z.number().int()).nullish() });

/** Names of classes that stand beside a head of the library adapters, around its options or among them; undefined where it has none. */
function namesByNumber(head: unknown): readonly string[] | undefined {
  const around = numbers.safeParse(head).data;
  const found = around?.label2id ?? numbers.safeParse(around?.config).data?.label2id ?? undefined;
  return (
    found &&
    Object.entries(found)
      .sort(([, a], [, b]) => a - b)
      .map(([name]) => name)
  );
}

/** Names of a model's classes, by `id2label` of its config; undefined where it has none. */
export function namesOfClasses({ info }: Model): readonly string[] | undefined {
  const { id2label } = info.config as { readonly id2label?: Readonly<Record<string, string>> | null };
  if (!id2label) return undefined;
  return Object.entries(id2label)
    .sort(([a], [b]) => Number(a) - Number(b))
    .map(([, label]) => label);
}

/** The same. @throws {LfmError} CONFIG_INVALID where it has none */
export function classNames({ name, model }: { readonly name: string; readonly model: Model }): readonly string[] {
  const names = namesOfClasses(model);
  if (names) return names;
  throw new LfmError("CONFIG_INVALID", `lfm: no names of classes: neither a delta nor the config of ${name} has them`, {
    hint: "give the --delta that lfm tune wrote",
  });
}
