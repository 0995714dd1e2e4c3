import type { Paradigm } from "@lfm/core";
import { type MetricStat, paradigmOrder, type ReportRow } from "../aggregate.js";
import { CEILING, differs, LEAST_SEEDS, type Ranked, rank, unseparated } from "../separation.js";
import { formatCount, formatStat, formatValue, plural, spell } from "./format.js";

/** A sentence; strong parts are names and verdicts. */
export type Sentence = readonly (string | { readonly strong: string })[];

export interface ParadigmFindings {
  readonly paradigm: Paradigm;
  readonly sentences: readonly Sentence[];
}

/** Within this share of a metric's scale a cheaper method is said to match. */
const LEVEL = 0.005;
/** A cheaper method is worth a word when it comes this near to the best. */
const NEAR = 0.02;

/** What the numbers of each paradigm say, in words. Only what was measured in this run is said. */
export function findFindings(rows: readonly ReportRow[]): readonly ParadigmFindings[] {
  return paradigmOrder.flatMap((paradigm) => {
    const own = rows.filter((r) => r.paradigm === paradigm);
    if (own.length === 0) return [];
    const tasks = [...new Set(own.map((r) => r.task))];
    const sentences = tasks.flatMap((task) =>
      taskFindings(
        task,
        own.filter((r) => r.task === task),
      ),
    );
    const warned = own.filter((r) => r.monitors.some((m) => m.warning));
    if (warned.length > 0) {
      sentences.push([{ strong: plural(warned.length, "warning") }, `: ${warned.map((r) => `${r.label} (${warningsOf(r)})`).join(", ")}.`]);
    }
    return [{ paradigm, sentences }];
  });
}

function warningsOf(row: ReportRow): string {
  return [...new Set(row.monitors.filter((m) => m.warning).map((m) => spell(m.id)))].join(", ");
}

function taskFindings(task: string, rows: readonly ReportRow[]): Sentence[] {
  const ranked = rank(rows);
  const [best, second] = ranked;
  const out: Sentence[] = [];
  if (best) {
    out.push(second ? ranking(task, best, second) : [{ strong: best.row.label }, ` reaches ${said(best)} on ${spell(task)}.`]);
    out.push(...separation(task, rows));
    const frugal = ranked
      .filter((r) => r !== best && distance(best.metric, best.mean, r.mean) <= NEAR && (r.row.trainableParams ?? 0) > 0)
      .sort((a, b) => a.row.trainableParams! - b.row.trainableParams!)[0];
    const most = best.row.trainableParams ?? 0;
    if (frugal && frugal.row.trainableParams! < most / 2) {
      out.push([
        { strong: frugal.row.label },
        ` ${distance(best.metric, best.mean, frugal.mean) <= LEVEL ? "matches that" : `comes within ${gapText(best.metric, best.mean, frugal.mean)} of it`} and trains ${formatCount(frugal.row.trainableParams)} parameters, ${share(frugal.row.trainableParams! / most)} of ${best.row.label}’s.`,
      ]);
    }
  }
  out.push(...retentionFindings(rows));
  const free = ranked.filter((r) => r.row.dataUsed === 0);
  if (free.length > 0 && free.length < ranked.length) {
    out.push([{ strong: free.map((r) => r.row.label).join(", ") }, ` used no real data on ${spell(task)}.`]);
  }
  const lost = rows.filter((r) => r.status !== "ok");
  if (lost.length > 0) {
    out.push([{ strong: lost.map((r) => r.label).join(", ") }, ` gave no result on ${spell(task)}: see below.`]);
  }
  return out;
}

/** "Leads" is said where the interval over seeds leaves out zero; one or two seeds carry no order. */
function ranking(task: string, best: Ranked, second: Ranked): Sentence {
  const [first, other] = [{ strong: best.row.label }, { strong: second.row.label }];
  const next = formatValue(second.mean, second.metric.unit);
  switch (differs(best.row, second.row)) {
    case true:
      return [first, ` leads ${spell(task)} with ${said(best)}; ${second.row.label} follows with ${next}.`];
    case false:
      return [first, " and ", other, ` are level on ${spell(task)}: ${said(best)} and ${next}.`];
    default:
      return [
        first,
        ` has ${said(best)} on ${spell(task)}, ${second.row.label} ${next}: fewer than ${LEAST_SEEDS} seeds, which rank nothing.`,
      ];
  }
}

function said({ row, metric }: Ranked): string {
  return `${formatStat(metric, metric.unit)} ${spell(row.headline!)}${metric.n > 1 ? ` (mean ± sd of ${metric.n} seeds)` : ""}`;
}

/** What the task cannot tell apart, where that is most of its methods. */
function separation(task: string, rows: readonly ReportRow[]): Sentence[] {
  const found = unseparated(rows);
  if (!found) return [];
  const names = found.rows.map((r) => r.label).join(", ");
  const why = found.why === "ceiling" ? `are above ${formatValue(CEILING, "fraction")}` : "lie within one standard error of each other";
  return [[{ strong: "Does not separate" }, ` on ${spell(task)}: ${names} (${found.rows.length} of ${found.of} methods) ${why}.`]];
}

function retentionFindings(rows: readonly ReportRow[]): Sentence[] {
  const kept = rows
    .flatMap((row) => (row.retention && row.retention.kept.mean !== null ? [{ row, kept: row.retention.kept.mean }] : []))
    .sort((a, b) => b.kept - a.kept);
  const [most, least] = [kept[0], kept[kept.length - 1]];
  if (!most || !least || most === least || most.kept - least.kept < NEAR) return [];
  return [
    [
      "Of what the model could do before (",
      `${most.row.retention!.of}), `,
      { strong: most.row.label },
      ` keeps ${share(most.kept)}, `,
      { strong: least.row.label },
      ` ${share(least.kept)}.`,
    ],
  ];
}

function distance(metric: MetricStat, a: number, b: number): number {
  const scale = metric.unit === "fraction" ? 1 : metric.unit === "points" ? 100 : Math.max(Math.abs(a), 1e-12);
  return Math.abs(a - b) / scale;
}

function gapText(metric: MetricStat, a: number, b: number): string {
  const d = distance(metric, a, b);
  return metric.unit === "fraction" || metric.unit === "points" ? `${(100 * d).toFixed(1)} points` : share(d);
}

function share(value: number): string {
  return `${(100 * value).toFixed(value < 0.1 ? 1 : 0)} %`;
}
