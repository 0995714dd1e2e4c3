/** Classes of a user's own: a folder of class folders, or a table. */
import { readdirSync, readFileSync, statSync } from "node:fs";
import { basename, extname, join } from "node:path";
import { LfmError } from "@lfm/core";
import { labelOf, numberOf } from "../examples/fields.js";
import { readExamples } from "../examples/index.js";
import { formatError, ioError } from "../files.js";
import { readRecords } from "../records.js";
import { readTextFile } from "../text-file.js";
import { decodePicture, resizePicture } from "./pictures.js";

export interface NamedClass<T> {
  readonly name: string;
  readonly items: readonly T[];
}

/** Examples by class, classes and files in code-point order. */
export type ClassSet =
  | { readonly kind: "texts"; readonly classes: readonly NamedClass<string>[] }
  /** `shape`: [channels, size, size] of pictures, values in 0..1; [n] of features. */
  | { readonly kind: "pictures" | "features"; readonly shape: readonly number[]; readonly classes: readonly NamedClass<Float32Array>[] };

export interface ReadClassesOptions {
  /** Side that pictures are brought to, pixels (default 28). */
  readonly size?: number;
}

/**
 * Reads classes from a folder with one folder for each class, which holds .png pictures or .txt texts, a file an example; or from a .csv, .tsv or .jsonl
 * with `text` and `label`, or with `label` and columns of numbers (features).
 * @throws {LfmError} FILE_IO; FILE_FORMAT for files of two kinds, for pictures of different channels, and for a class without an example;
 *   CONFIG_INVALID for fewer than two classes
 */
export function readClasses(path: string, options: ReadClassesOptions = {}): ClassSet {
  const set = isFolder(path) ? readFolder(path, options) : readTable(path);
  if (set.classes.length >= 2) return set;
  throw new LfmError("CONFIG_INVALID", `[@lfm/data] ${path} holds ${set.classes.length} class: nothing is to be told apart`, {
    hint: "a folder with a folder of .png or .txt files for each class, or a .csv with text and label",
  });
}

/** @throws {LfmError} FILE_IO for a path that is not there */
function isFolder(path: string): boolean {
  try {
    return statSync(path).isDirectory();
  } catch (cause) {
    throw ioError(path, "cannot be read", cause);
  }
}

const sorted = (names: readonly string[]): string[] => [...names].sort((a, b) => (a < b ? -1 : a > b ? 1 : 0));

function readFolder(path: string, { size = 28 }: ReadClassesOptions): ClassSet {
  const names = sorted(readdirSync(path).filter((name) => !name.startsWith(".") && isFolder(join(path, name))));
  const files = names.map((name) => {
    const folder = join(path, name);
    const own = sorted(readdirSync(folder).filter((file) => [".png", ".txt"].includes(extname(file).toLowerCase())));
    if (own.length === 0) throw formatError(folder, "a class without a .png or .txt file", { hint: "remove the folder, or fill it" });
    return own.map((file) => join(folder, file));
  });
  const kinds = new Set(files.flat().map((file) => extname(file).toLowerCase()));
  if (kinds.size > 1) throw formatError(path, "pictures and texts side by side", { hint: "keep them in folders of their own" });
  const classes = <T>(read: (file: string) => T): NamedClass<T>[] => names.map((name, i) => ({ name, items: files[i]!.map(read) }));
  if (kinds.has(".txt")) return { kind: "texts", classes: classes((file) => readTextFile(file, "use .txt").trim()) };
  let channels: number | undefined;
  const pictures = classes((file) => {
    const picture = decodePicture(file, readFileSync(file));
    channels ??= picture.channels;
    if (picture.channels !== channels) throw formatError(file, `a picture of ${picture.channels} channels among those of ${channels}`);
    return resizePicture(picture, size);
  });
  return { kind: "pictures", shape: [channels ?? 1, size, size], classes: pictures };
}

function readTable(path: string): ClassSet {
  const file = readRecords(path);
  if (file.columns.includes("label") && !file.columns.includes("text")) {
    const features = readFeatures(path);
    const rows = file.records.map((r, i) => [labelOf(r, "label"), features[i]!] as const);
    return { kind: "features", shape: [features[0]!.length], classes: byLabel(rows) };
  }
  const examples = readExamples(path);
  if (examples.kind !== "classification")
    throw formatError(path, `holds ${examples.kind}, no classes`, { hint: `give ${basename(path)} the columns text and label` });
  return { kind: "texts", classes: byLabel(examples.rows.map((r) => [r.label, r.text])) };
}

/** The columns of numbers of a table, `label` left out: f32[columns] a row. @throws {LfmError} FILE_IO, FILE_FORMAT for what is no number */
export function readFeatures(path: string): readonly Float32Array[] {
  const { columns, records } = readRecords(path);
  const numbers = columns.filter((name) => name !== "label");
  return records.map((r) => Float32Array.from(numbers, (name) => numberOf(r, name)));
}

function byLabel<T>(rows: readonly (readonly [string, T])[]): NamedClass<T>[] {
  const found = new Map<string, T[]>();
  for (const [label, item] of rows) found.set(label, [...(found.get(label) ?? []), item]);
  return sorted([...found.keys()]).map((name) => ({ name, items: found.get(name)! }));
}

/** Classes to learn from and classes that are never seen while learning. */
export interface ClassSplit<T> {
  readonly train: readonly NamedClass<T>[];
  readonly unseen: readonly NamedClass<T>[];
}

/** @throws {LfmError} CONFIG_INVALID for a class that stands on both sides: what is measured would have been learned */
export function requireDisjoint<T>({ train, unseen }: ClassSplit<T>): void {
  const seen = new Set(train.map((c) => c.name));
  const twice = unseen.filter((c) => seen.has(c.name)).map((c) => c.name);
  if (twice.length === 0) return;
  throw new LfmError("CONFIG_INVALID", `[@lfm/data] classes are both learned from and measured on: ${twice.slice(0, 5).join(", ")}`, {
    hint: "give unseen classes names of their own, or leave --unseen out: a part of the classes is then held back",
    details: { classes: twice },
  });
}
