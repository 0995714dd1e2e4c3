import { headlineOf, type ReportRow } from "../aggregate.js";
import { type OptionGrid, optionOf, valuesOf } from "../option-grid.js";
import { axisValue, formatStat, notRun, spell } from "./format.js";
import { el, join, type Markup } from "./markup.js";
import { scrolling } from "./tables.js";

/** A heat map of every combination: a line for each of all options but the last, which has the columns. */
export function gridSection({ method, lead, others, rows, metric }: OptionGrid): Markup {
  const across = others.at(-1)!;
  const down = [lead, ...others.slice(0, -1)];
  const columns = valuesOf(rows, across);
  const lines = down.reduce<readonly (readonly ReportRow[])[]>(
    (groups, option) =>
      groups.flatMap((group) => valuesOf(group, option).map((value) => group.filter((row) => optionOf(row, option) === value))),
    [rows],
  );
  const means = rows.flatMap((row) => headlineOf(row)?.mean ?? []);
  const [low, high] = [Math.min(...means), Math.max(...means)];
  const headline = spell(rows[0]!.headline ?? "");
  return join([
    el("h4", {}, `${method}: ${headline} by ${[...down, across].map(spell).join(" × ")}`),
    scrolling(
      `${method} by its options`,
      el(
        "table",
        { class: "heat" },
        el(
          "thead",
          {},
          el(
            "tr",
            {},
            down.map((option) => el("th", { scope: "col" }, spell(option))),
            columns.map((value) => el("th", { scope: "col" }, `${spell(across)} ${value}`)),
          ),
        ),
        el(
          "tbody",
          {},
          lines.map((line) =>
            el(
              "tr",
              {},
              down.map((option) => el("th", { scope: "row" }, String(optionOf(line[0]!, option)))),
              columns.map((value) =>
                heatCell(
                  line.find((row) => optionOf(row, across) === value),
                  low,
                  high,
                ),
              ),
            ),
          ),
        ),
      ),
    ),
    el(
      "p",
      { class: "note" },
      `Darker is higher. Above stand the combinations that are best by ${spell(metric)} of each ${spell(lead)}, in brackets their ${others.map(spell).join(" and ")}.`,
    ),
  ]);
}

function heatCell(row: ReportRow | undefined, low: number, high: number): Markup {
  const metric = row && headlineOf(row);
  if (!row || !metric || metric.mean === null)
    return el("td", {}, el("span", { class: "dim" }, row && row.status !== "ok" ? row.status : notRun));
  const share = high > low ? Math.round((100 * (metric.mean - low)) / (high - low)) : 0;
  const value = axisValue(metric.mean, metric.unit);
  return el("td", { style: `--v:${share}%`, title: `${row.label}: ${formatStat(metric, metric.unit)}` }, value.toFixed(1));
}
