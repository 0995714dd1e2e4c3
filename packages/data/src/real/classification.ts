import { parse } from "csv-parse/sync";
import { forEachLine, formatError, isRecord, parseJson } from "../files.js";
import { type DatasetLocation, readPinnedText } from "./folder.js";

/** A sentence and the number of its class. */
export interface LabelledText {
  readonly text: string;
  /** Index into {@link ClassificationSet.labels}. */
  readonly label: number;
}

/** A set of labelled sentences; its splits share no example by construction of the set, and are never mixed. */
export interface ClassificationSet {
  readonly name: "clinc150" | "banking77" | "snips" | "sst2";
  /** Names of the classes, in code-point order (SST-2: negative, positive). */
  readonly labels: readonly string[];
  readonly splits: {
    readonly train: readonly LabelledText[];
    readonly val: readonly LabelledText[];
    readonly test: readonly LabelledText[];
  };
  /** CLINC150 only: queries that belong to no class. */
  readonly outOfScope?: { readonly train: readonly string[]; readonly val: readonly string[]; readonly test: readonly string[] };
}

type Row = readonly [text: string, label: string];

/**
 * Loads one of the text classification sets; the split rule of each stands in its manifest.
 * @throws {LfmError} FILE_IO, FILE_FORMAT
 */
export async function loadClassification(name: ClassificationSet["name"], location: DatasetLocation = {}): Promise<ClassificationSet> {
  switch (name) {
    case "clinc150":
      return loadClinc150(location);
    case "banking77":
      return loadBanking77(location);
    case "snips":
      return loadSnips(location);
    case "sst2":
      return loadSst2(location);
  }
}

async function loadClinc150(location: DatasetLocation): Promise<ClassificationSet> {
  const { path, text } = await readPinnedText("clinc150", "data_full.json", location);
  const splits = parseClinc150(path, text);
  const scope = (key: string): string[] => rowsOf(splits, key).map(([sentence]) => sentence);
  return {
    ...labelled("clinc150", { train: rowsOf(splits, "train"), val: rowsOf(splits, "val"), test: rowsOf(splits, "test") }),
    outOfScope: { train: scope("oos_train"), val: scope("oos_val"), test: scope("oos_test") },
  };
}

function rowsOf(splits: Readonly<Record<string, readonly Row[]>>, key: string): readonly Row[] {
  return splits[key] ?? [];
}

/** `{ split: [[text, intent], …] }` → rows by split. @throws {LfmError} FILE_FORMAT */
export function parseClinc150(path: string, text: string): Record<string, Row[]> {
  const value = parseJson(path, text);
  if (!isRecord(value)) throw formatError(path, "expected an object of splits");
  const splits: Record<string, Row[]> = {};
  for (const key of ["train", "val", "test", "oos_train", "oos_val", "oos_test"]) {
    const rows = value[key];
    if (!Array.isArray(rows)) throw formatError(path, `split "${key}" is missing`);
    splits[key] = rows.map((row: unknown, i) => {
      if (Array.isArray(row) && typeof row[0] === "string" && typeof row[1] === "string") return [row[0], row[1]];
      throw formatError(path, `${key}[${i}] is not [text, intent]`);
    });
  }
  return splits;
}

async function loadBanking77(location: DatasetLocation): Promise<ClassificationSet> {
  const [train, test] = await Promise.all(["train.csv", "test.csv"].map((file) => readPinnedText("banking77", file, location)));
  const [kept, val] = everyTenth(parseBanking77(train!.path, train!.text));
  return labelled("banking77", { train: kept, val, test: parseBanking77(test!.path, test!.text) });
}

/** CSV with the columns text and category. @throws {LfmError} FILE_FORMAT */
export function parseBanking77(path: string, text: string): Row[] {
  let records: string[][];
  try {
    records = parse(text) as string[][];
  } catch (cause) {
    throw formatError(path, `not CSV: ${(cause as Error).message}`, { cause });
  }
  const [header, ...rows] = records;
  if (header?.join() !== "text,category") throw formatError(path, "expected the columns text,category", { line: 1 });
  return rows.map((row) => [row[0]!.trim(), row[1]!]);
}

const SNIPS_INTENTS = [
  "AddToPlaylist",
  "BookRestaurant",
  "GetWeather",
  "PlayMusic",
  "RateBook",
  "SearchCreativeWork",
  "SearchScreeningEvent",
] as const;

async function loadSnips(location: DatasetLocation): Promise<ClassificationSet> {
  const read = async (prefix: string): Promise<Row[]> => {
    const parts = await Promise.all(
      SNIPS_INTENTS.map(async (intent) => {
        // The published PlayMusic file has six bytes that are not UTF-8.
        const { path, text } = await readPinnedText("snips", `${prefix}_${intent}.json`, location, "replace");
        return parseSnips(path, text, intent);
      }),
    );
    return parts.flat();
  };
  const [train, val] = everyTenth(await read("train"));
  return labelled("snips", { train, val, test: await read("validate") });
}

/** `{ intent: [{ data: [{ text, entity? }] }] }` → sentences, their pieces joined. @throws {LfmError} FILE_FORMAT */
export function parseSnips(path: string, text: string, intent: string): Row[] {
  const value = parseJson(path, text);
  const queries = isRecord(value) ? value[intent] : undefined;
  if (!Array.isArray(queries)) throw formatError(path, `no list under "${intent}"`);
  return queries.map((query: unknown, i) => {
    const data = isRecord(query) ? query.data : undefined;
    if (!Array.isArray(data)) throw formatError(path, `${intent}[${i}] has no data`);
    const pieces = data.map((piece: unknown) => {
      if (isRecord(piece) && typeof piece.text === "string") return piece.text;
      throw formatError(path, `${intent}[${i}] has a piece without text`);
    });
    return [pieces.join("").replace(/\s+/g, " ").trim(), intent];
  });
}

async function loadSst2(location: DatasetLocation): Promise<ClassificationSet> {
  const [train, val, test] = await Promise.all(
    ["train.tsv", "dev.tsv", "test.tsv"].map(async (file) => {
      const read = await readPinnedText("sst2", file, location);
      return parseSst2(read.path, read.text);
    }),
  );
  return { name: "sst2", labels: ["negative", "positive"], splits: { train: train!, val: val!, test: test! } };
}

/** `sentence<TAB>0|1` a line. @throws {LfmError} FILE_FORMAT naming the line */
export function parseSst2(path: string, text: string): LabelledText[] {
  const rows: LabelledText[] = [];
  forEachLine(text, (line, number) => {
    const tab = line.lastIndexOf("\t");
    const label = line.slice(tab + 1);
    if (tab < 0 || (label !== "0" && label !== "1")) throw formatError(path, "expected sentence<TAB>0 or 1", { line: number });
    rows.push({ text: line.slice(0, tab), label: Number(label) });
  });
  return rows;
}

/** Of each class, in file order, the tenth, twentieth, … example goes to the second part. */
export function everyTenth(rows: readonly Row[]): [kept: Row[], taken: Row[]] {
  const seen = new Map<string, number>();
  const kept: Row[] = [];
  const taken: Row[] = [];
  for (const row of rows) {
    const n = (seen.get(row[1]) ?? 0) + 1;
    seen.set(row[1], n);
    (n % 10 === 0 ? taken : kept).push(row);
  }
  return [kept, taken];
}

function labelled(
  name: ClassificationSet["name"],
  splits: { readonly train: readonly Row[]; readonly val: readonly Row[]; readonly test: readonly Row[] },
): ClassificationSet {
  const labels = [...new Set(splits.train.map(([, label]) => label))].sort();
  const index = new Map(labels.map((label, i) => [label, i]));
  const number = (rows: readonly Row[]): LabelledText[] =>
    rows.map(([text, label]) => {
      const found = index.get(label);
      if (found === undefined) throw formatError(name, `class "${label}" has no training example`);
      return { text, label: found };
    });
  return { name, labels, splits: { train: number(splits.train), val: number(splits.val), test: number(splits.test) } };
}
