import {
  type Columns,
  type DatasetKind,
  type DatasetLocation,
  type DatasetName,
  type Examples,
  loadClassification,
  loadSciFact,
  loadText,
  readExamples,
} from "@lfm/data";
import type { Console } from "../program/console.js";

export interface ShowOptions {
  readonly columns?: Columns;
  readonly regression?: boolean;
  readonly rows?: number;
}

/** Rows that are shown where nobody says how many. */
const ROWS = 5;
/** Characters of a row on the terminal. */
const WIDTH = 100;

/** `lfm data show FILE`: the examples of a file as they will be read. @throws {LfmError} FILE_IO, FILE_FORMAT */
export function showExamples(path: string, { columns, regression = false, rows = ROWS }: ShowOptions, console: Console): void {
  const examples = readExamples(path, { values: regression, ...(columns ? { columns } : {}) });
  const all = examples.source?.columns ?? [];
  const read = examples.source?.read ?? {};
  const unread = all.filter((name) => !Object.values(read).includes(name));
  const first = examples.rows.slice(0, rows).map(({ at, ...row }) => row);
  const counts = countsOf(examples);
  const value = { file: path, kind: examples.kind, examples: examples.rows.length, columns: all, read, ...counts, first };
  console.result(value, () =>
    [
      `${path}: ${kindOf(examples)}, ${examples.rows.length.toLocaleString("en")} examples`,
      `read: ${Object.entries(read)
        .map(([role, name]) => (role === name ? name : `${role} = ${name}`))
        .join(", ")}${unread.length > 0 ? `; not read: ${unread.join(", ")}` : ""}`,
      ...saidCounts(counts),
      "",
      ...saidRows(first),
    ].join("\n"),
  );
}

/**
 * The first examples of a set that lies on this machine; none of sets of pictures.
 * @throws {LfmError} FILE_IO, FILE_FORMAT
 */
export async function firstOfSet(name: DatasetName, kind: DatasetKind, location: DatasetLocation, rows = ROWS): Promise<readonly object[]> {
  switch (kind) {
    case "text-classification": {
      const { labels, splits } = await loadClassification(name as Parameters<typeof loadClassification>[0], location);
      return splits.train.slice(0, rows).map(({ text, label }) => ({ text, label: labels[label] }));
    }
    case "retrieval": {
      const { documents } = await loadSciFact(location);
      return documents.slice(0, rows).map(({ id, title, text }) => ({ id, title, text }));
    }
    case "language-modelling": {
      const { splits } = await loadText(name as Parameters<typeof loadText>[0], location);
      const lines = splits.train.slice(0, 100 * WIDTH * rows).split("\n");
      return lines
        .filter((line) => line.trim() !== "")
        .slice(0, rows)
        .map((text) => ({ text: text.trim() }));
    }
    case "few-shot-images":
    case "image-classification":
      return [];
  }
}

/** Examples as they are shown on a terminal. */
export function saidRows(rows: readonly object[]): readonly string[] {
  return rows.flatMap((row, i) => saidRow(i + 1, row));
}

function kindOf({ kind, source }: Examples): string {
  return source?.read.text2 === undefined ? kind : `${kind} of pairs`;
}

interface Counts {
  /** Examples of each label, the most frequent first. */
  readonly labels?: Readonly<Record<string, number>>;
  readonly values?: { readonly least: number; readonly mean: number; readonly most: number };
}

function countsOf(examples: Examples): Counts {
  if (examples.kind === "classification") {
    const counts = new Map<string, number>();
    for (const { label } of examples.rows) counts.set(label, (counts.get(label) ?? 0) + 1);
    return { labels: Object.fromEntries([...counts].sort(([, a], [, b]) => b - a)) };
  }
  if (examples.kind !== "regression") return {};
  const values = examples.rows.map((r) => r.value);
  const [least, most] = [values.reduce((a, b) => Math.min(a, b)), values.reduce((a, b) => Math.max(a, b))];
  return { values: { least, mean: values.reduce((a, b) => a + b, 0) / values.length, most } };
}

/** Labels that are shown with their counts. */
const LABELS = 20;

function saidCounts({ labels, values }: Counts): readonly string[] {
  if (values) return [`values: ${values.least} to ${values.most}, mean ${values.mean.toFixed(3)}`];
  if (!labels) return [];
  const entries = Object.entries(labels);
  const shown = entries.slice(0, LABELS).map(([label, n]) => `${label} ${n.toLocaleString("en")}`);
  return [`labels: ${entries.length} — ${shown.join(", ")}${entries.length > LABELS ? ", …" : ""}`];
}

function saidRow(number: number, row: object): readonly string[] {
  return Object.entries(row).map(([name, value]: [string, unknown], i) => {
    const text = typeof value === "string" ? value : JSON.stringify(value);
    const line = text.replaceAll(/\s+/g, " ");
    return `${i === 0 ? `${number}.`.padEnd(4) : "    "}${name}: ${line.length > WIDTH ? `${line.slice(0, WIDTH)}…` : line}`;
  });
}
