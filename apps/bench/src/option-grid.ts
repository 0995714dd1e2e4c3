import { headlineOf, type ReportRow } from "./aggregate.js";

type Value = string | number | boolean;

/** One method on one task with several values of two options or more: every combination that was run. */
export interface OptionGrid {
  readonly method: string;
  /** What is told apart: an option of words where there is one, otherwise the first. */
  readonly lead: string;
  /** The others, in the order of the method's schema. */
  readonly others: readonly string[];
  readonly rows: readonly ReportRow[];
  /** Of each value of the lead the row that is best by {@link metric}. */
  readonly chosen: readonly ReportRow[];
  /** The metric that chooses: on validation examples where there is one ("validationAccuracy" for "accuracy"), otherwise the headline. */
  readonly metric: string;
}

/** Fewer rows of a method are a list. */
const LEAST_ROWS = 4;

/** The grids among the rows of one task. */
export function findGrids(rows: readonly ReportRow[]): readonly OptionGrid[] {
  return [...new Set(rows.map((r) => r.method))].flatMap((method) => {
    const own = rows.filter((r) => r.method === method);
    const varied = variedOptions(own);
    if (own.length < LEAST_ROWS || varied.length < 2) return [];
    const lead = varied.find((option) => own.some((row) => typeof optionOf(row, option) === "string")) ?? varied[0]!;
    const others = varied.filter((option) => option !== lead);
    const metric = choosingMetric(own);
    const chosen = valuesOf(own, lead).flatMap((value) =>
      bestOf(
        own.filter((row) => optionOf(row, lead) === value),
        metric,
      ),
    );
    const named = chosen.map((row) => ({ ...row, label: `${optionOf(row, lead)} (${others.map((o) => optionOf(row, o)).join(", ")})` }));
    return [{ method, lead, others, rows: own, chosen: named, metric }];
  });
}

/** The rows of one task by which its methods are compared: of a grid those that were chosen. */
export function comparedRows(rows: readonly ReportRow[]): readonly ReportRow[] {
  const grids = findGrids(rows);
  return [...rows.filter((row) => !grids.some((grid) => grid.rows.includes(row))), ...grids.flatMap((grid) => grid.chosen)];
}

/** The values that an option has among rows, in their order. */
export function valuesOf(rows: readonly ReportRow[], option: string): readonly Value[] {
  return [...new Set(rows.map((row) => optionOf(row, option)!))];
}

export function optionOf(row: ReportRow, option: string): Value | undefined {
  const value = row.results[0]?.config[option];
  return typeof value === "object" ? undefined : (value as Value | undefined);
}

function variedOptions(rows: readonly ReportRow[]): readonly string[] {
  const [first] = rows;
  return Object.keys(first?.results[0]?.config ?? {}).filter(
    (option) => rows.every((row) => optionOf(row, option) !== undefined) && valuesOf(rows, option).length > 1,
  );
}

function choosingMetric(rows: readonly ReportRow[]): string {
  const headline = rows.find((row) => row.headline !== undefined)?.headline ?? "";
  const validation = `validation${headline.charAt(0).toUpperCase()}${headline.slice(1)}`;
  return rows.every((row) => row.status !== "ok" || row.metrics[validation]) ? validation : headline;
}

/** The best of those that have a result; where none has one, the first, so that its failure is seen. */
function bestOf(rows: readonly ReportRow[], metric: string): readonly ReportRow[] {
  const measured = rows.filter((row) => row.status === "ok" && typeof row.metrics[metric]?.mean === "number");
  const sign = headlineOf(measured[0] ?? rows[0]!)?.higherIsBetter === false ? -1 : 1;
  const mean = (row: ReportRow): number => sign * row.metrics[metric]!.mean!;
  return [measured.length > 0 ? measured.reduce((best, row) => (mean(row) > mean(best) ? row : best)) : rows[0]!];
}
