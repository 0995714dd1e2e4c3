/**
 * What docs/editing.md says: what the benchmark of editing asks beside CounterFact and KnowEdit, and, once suite `editing` has run, which methods
 * change places when that counts. Written by `npm run results`.
 */
import { probeKinds, protocols } from "@lfm/editing";
import { parse } from "csv-parse/sync";

/** A cell of docs/results/editing.csv: metrics by name, null for what was not run. */
interface Cell {
  readonly method: string;
  readonly seed: string;
  readonly metrics: Readonly<Record<string, number | null>>;
}

/** What a set asks, in this benchmark's kinds and protocols; the mean of these is its score. */
const SETS: Readonly<Record<string, readonly string[]>> = {
  CounterFact: ["efficacy.success", "paraphrase.success", "same-value.success"],
  KnowEdit: [
    "efficacy.token-accuracy",
    "alias.token-accuracy",
    "one-hop.token-accuracy",
    "inverse.token-accuracy",
    "same-subject.unchanged",
  ],
};
/** What is asked here and by neither. */
const ADDED = ["unseen-form", "question", "long-context", "distractor", "same-relation", "unrelated"] as const;

/** Seeds of an interval. */
const FEWEST = 3;
/** 97.5 % quantiles of Student's t with 1 to 9 degrees of freedom. */
const QUANTILES = [12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262];

/** @param csv docs/results/editing.csv; undefined where the suite was not run */
export function editingPage(csv: string | undefined): string {
  return [
    "# What an edit really does",
    "",
    "Written by `npm run results`; `lfm bench --suite editing` makes the numbers, on the zoo's language model, whose world knows every right answer.",
    "",
    "CounterFact asks whether the new object is likelier than the old one: after the prompt, after paraphrases, and, the other way round, for others with the",
    "old object. KnowEdit adds aliases, one hop and other relations of the subject, token by token behind the right ones. Both draw what should stay from",
    "where the edit is, so that most of what breaks is not looked at. Here every question is asked by every protocol, before the edit and after it:",
    "",
    "| question | axis | right answer | asked by |",
    "| --- | --- | --- | --- |",
    ...Object.entries(probeKinds).map(
      ([id, kind]) => `| ${id}: ${kind.about} | ${kind.axis} | ${kind.expects === "new" ? "the edit's" : "as before"} | ${askedBy(id)} |`,
    ),
    "| adapter, reading, perplexity: what the model can do beside facts | other tasks | as before | here |",
    "| 1, 10, 100 … edits at once and in sequence; the first of them; rank of their keys | scale | as after one | here |",
    "| A → B → C → A | conflict and reversal | the last; at the end as before | here |",
    "",
    "| protocol | what counts | elsewhere |",
    "| --- | --- | --- |",
    ...Object.entries(protocols).map(([id, p]) => `| ${id} | ${p.about} | ${p.named} |`),
    "",
    "The inverse of a relation is asked where a file asks it (KnowEdit); the zoo's model was never taught to answer it, and it is not made up.",
    "",
    "## Who changes places",
    "",
    ...(csv === undefined ? ["Not run: `npm run results -- editing`."] : evidence(cellsOf(csv))),
    "",
  ].join("\n");
}

function askedBy(kind: string): string {
  const sets = Object.entries(SETS).flatMap(([name, asked]) => (asked.some((metric) => metric.startsWith(`${kind}.`)) ? [name] : []));
  return [...sets, "here"].join(", ");
}

function cellsOf(csv: string): readonly Cell[] {
  return parse<Readonly<Record<string, string>>>(csv, { columns: true })
    .filter((row) => row.task === "single-edits" && row.status === "ok")
    .map((row) => ({
      method: String(row.method),
      seed: String(row.seed),
      metrics: Object.fromEntries(
        Object.entries(row).flatMap(([name, text]) =>
          name.startsWith("metric.") ? [[name.slice(7), text === "" ? null : Number(text)]] : [],
        ),
      ),
    }));
}

/** The mean of metrics of a cell, those that are there; null where none is. */
function scoreOf({ metrics }: Cell, names: readonly string[]): number | null {
  const values = names.flatMap((name) => metrics[name] ?? []);
  return values.length === 0 ? null : values.reduce((a, b) => a + b, 0) / values.length;
}

function evidence(cells: readonly Cell[]): readonly string[] {
  const methods = [...new Set(cells.map((c) => c.method))];
  const seeds = [...new Set(cells.map((c) => c.seed))];
  const added = ADDED.map((kind) => `${kind}.${probeKinds[kind].expects === "new" ? "generated" : "unchanged"}`);
  const columns: Readonly<Record<string, readonly string[]>> = { ...SETS, added, "all axes": ["score"] };
  const scoreAt = (method: string, seed: string, names: readonly string[]): number | null => {
    const cell = cells.find((c) => c.method === method && c.seed === seed);
    return cell ? scoreOf(cell, names) : null;
  };
  const meanOf = (method: string, names: readonly string[]): number | null => {
    const values = seeds.flatMap((seed) => scoreAt(method, seed, names) ?? []);
    return values.length === 0 ? null : values.reduce((a, b) => a + b, 0) / values.length;
  };
  const lines = methods.map(
    (method) =>
      `| ${method} | ${Object.values(columns)
        .map((names) => meanOf(method, names)?.toFixed(1) ?? "not run")
        .join(" | ")} |`,
  );
  const turned = Object.keys(SETS).flatMap((set) =>
    methods.flatMap((a) =>
      methods.flatMap((b) => {
        const by = (names: readonly string[]): number =>
          interval(seeds.flatMap((s) => difference(scoreAt(a, s, names), scoreAt(b, s, names))));
        return by(SETS[set]!) > 0 && by(added) < 0 ? [`* ${a} is above ${b} by ${set}'s questions, below by those that are added.`] : [];
      }),
    ),
  );
  return [
    `Means over ${seeds.length} ${seeds.length === 1 ? "seed" : "seeds"}, points: by the questions of each set, by those that neither asks, by all axes.`,
    "",
    `| method | ${Object.keys(columns).join(" | ")} |`,
    `|---|${"---:|".repeat(Object.keys(columns).length)}`,
    ...lines,
    "",
    ...(seeds.length < FEWEST
      ? [`Whether the order of two methods turns round is told from ${FEWEST} seeds or more.`]
      : turned.length > 0
        ? ["Pairs whose order turns round, the 95 % interval over seeds leaving out zero on both sides:", "", ...turned]
        : ["No pair of methods changes places with intervals over seeds that leave out zero on both sides."]),
  ];
}

function difference(a: number | null, b: number | null): number[] {
  return a === null || b === null ? [] : [a - b];
}

/** The sign of a mean whose 95 % interval (Student's) leaves out zero; 0 where it does not, and for fewer than {@link FEWEST} values. */
function interval(values: readonly number[]): number {
  const half = halfWidth(values);
  const mean = values.reduce((a, b) => a + b, 0) / values.length;
  return half !== undefined && Math.abs(mean) > half ? Math.sign(mean) : 0;
}

/** Half of the 95 % interval (Student's) of a mean; none for fewer than three values. */
export function halfWidth(values: readonly number[]): number | undefined {
  const n = values.length;
  if (n < 3) return undefined;
  const mean = values.reduce((a, b) => a + b, 0) / n;
  const error = Math.sqrt(values.reduce((s, v) => s + (v - mean) ** 2, 0) / (n - 1) / n);
  return QUANTILES[Math.min(QUANTILES.length, n - 1) - 1]! * error;
}
