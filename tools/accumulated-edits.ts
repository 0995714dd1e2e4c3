/**
 * What docs/accumulated-edits.md says: a thousand edits in sequence (suite `editing-accumulate`) by subject memory and by the methods beside it, and
 * the differences, seed by seed. Written by `npm run results`.
 */
import { parse } from "csv-parse/sync";
import { halfWidth } from "./editing-page.js";

const OURS = "subject-memory";

/** What is looked at, and whether more of it is better. */
const AXES = {
  "retention: all edits, likelier than before": ["efficacy.success", "more"],
  "retention: all edits, said freely": ["efficacy.generated", "more"],
  "paraphrases, likelier than before": ["paraphrase.success", "more"],
  "paraphrases, said freely": ["paraphrase.generated", "more"],
  "forms never taught, said freely": ["unseen-form.generated", "more"],
  "what follows from it (one hop), said freely": ["one-hop.generated", "more"],
  "first ten edits": ["firstEdits", "more"],
  "kept: other relations of the subject, unchanged": ["same-subject.unchanged", "more"],
  "kept: neighbours with the old object, success": ["same-value.success", "more"],
  "kept: the relation of others, unchanged": ["same-relation.unchanged", "more"],
  "kept: facts of people without edits, unchanged": ["unrelated.unchanged", "more"],
  "kept: the adapter's task": ["adapterTask", "more"],
  "kept: reading passages": ["reading", "more"],
  perplexity: ["perplexity", "less"],
  "ms an edit": ["editMs", "less"],
} as const;

/** By method and metric: the value of each seed. */
type Values = ReadonlyMap<string, ReadonlyMap<string, ReadonlyMap<string, number>>>;

/** @param csv docs/results/editing-accumulate.csv; undefined where the suite was not run */
export function accumulatedEdits(csv: string | undefined): string {
  return [
    "# Edits that accumulate",
    "",
    "Written by `npm run results`; `lfm bench --suite editing-accumulate` makes the numbers: a thousand edits in sequence on the zoo's language model, each",
    "into the model with those before, of people and with seeds that no setting was chosen on. Afterwards every edit is asked about.",
    "",
    ...(csv === undefined ? ["Not run: `npm run results -- editing-accumulate`."] : tables(valuesOf(csv))),
    "",
  ].join("\n");
}

function valuesOf(csv: string): Values {
  const values = new Map<string, Map<string, Map<string, number>>>();
  for (const row of parse<Readonly<Record<string, string>>>(csv, { columns: true })) {
    if (row.status !== "ok") continue;
    const method = values.get(row.method!) ?? new Map<string, Map<string, number>>();
    values.set(row.method!, method);
    for (const [metric] of Object.values(AXES)) {
      const text = row[`metric.${metric}`];
      if (text) method.set(metric, (method.get(metric) ?? new Map<string, number>()).set(row.seed!, Number(text)));
    }
  }
  return values;
}

function tables(values: Values): readonly string[] {
  const others = [...values.keys()].filter((method) => method !== OURS);
  const of = (method: string, metric: string): ReadonlyMap<string, number> => values.get(method)?.get(metric) ?? new Map();
  const table = (head: readonly string[], cell: (method: string, metric: string, better: "more" | "less") => string): readonly string[] => [
    `| axis | ${head.join(" | ")} |`,
    `|---|${"---:|".repeat(head.length)}`,
    ...Object.entries(AXES).map(
      ([axis, [metric, better]]) => `| ${axis} | ${head.map((method) => cell(method, metric, better)).join(" | ")} |`,
    ),
  ];
  return [
    "Means over seeds:",
    "",
    ...table([OURS, ...others], (method, metric) => {
      const all = [...of(method, metric).values()];
      return all.length === 0 ? "not run" : `${meanOf(all).toFixed(2)} (${all.length})`;
    }),
    "",
    `Differences of ${OURS} from each, mean and 95 % interval over seeds that both have (Student's); **bold** where it leaves out zero on the better side:`,
    "",
    ...table(others, (method, metric, better) => {
      const theirs = of(method, metric);
      const pairs = [...of(OURS, metric)].flatMap(([seed, ours]) => (theirs.has(seed) ? [ours - theirs.get(seed)!] : []));
      if (pairs.length === 0) return "not run";
      const [mean, half] = [meanOf(pairs), halfWidth(pairs)];
      if (half === undefined) return `${signed(mean)} (${pairs.length})`;
      const text = `${signed(mean)} ± ${half.toFixed(2)}`;
      return (better === "more" ? mean : -mean) > half ? `**${text}**` : text;
    }),
  ];
}

function meanOf(values: readonly number[]): number {
  return values.reduce((a, b) => a + b, 0) / values.length;
}

function signed(value: number): string {
  return `${value < 0 ? "−" : "+"}${Math.abs(value).toFixed(2)}`;
}
