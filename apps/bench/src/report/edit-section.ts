import { protocols } from "@lfm/editing";
import type { ReportRow } from "../aggregate.js";
import { type EditLine, type EditTable, type ProtocolTable, protocolTables } from "./edit-table.js";
import { figure } from "./figures.js";
import { formatStat, notRun } from "./format.js";
import { type Child, el, join, type Markup } from "./markup.js";
import { seriesColor } from "./palette.js";
import { radarChart } from "./radar.js";
import { scrolling } from "./tables.js";

/** What edits did to a model: methods by axes as a heat map, the profile of each method, every protocol. */
export function editSection(table: EditTable, rows: readonly ReportRow[], title: string): Markup {
  const tables = protocolTables(rows.filter((r) => r.status === "ok"));
  return join([
    el("h4", {}, "Methods by axes, points of 100"),
    heatMap(table, title),
    el(
      "p",
      { class: "note" },
      "What an edit should bring is counted where the model, going on by itself, begins with it; what it should leave alone where the first words are those of before. Locality from near to far. Grey: nothing was edited. “–” was not asked.",
    ),
    el("h4", {}, "Profile of each method"),
    el("div", { class: "figures" }, profiles(table)),
    tables.map((one) => el("details", {}, el("summary", {}, `${one.label}: every protocol, before → after`), protocolTable(one, title))),
  ]);
}

function heatMap({ columns, lines }: EditTable, title: string): Markup {
  const groups = columns.map((c) => c.group).filter((group, i, all) => group !== all[i - 1]);
  const first = (i: number): string | null => (i > 0 && columns[i]!.group !== columns[i - 1]!.group ? "first" : null);
  return scrolling(
    title,
    el(
      "table",
      { class: "heat" },
      el(
        "thead",
        {},
        el(
          "tr",
          {},
          el("th", { scope: "col" }, ""),
          groups.map((group, i) =>
            el("th", { scope: "colgroup", colspan: columns.filter((c) => c.group === group).length, class: i > 0 ? "first" : null }, group),
          ),
        ),
        el(
          "tr",
          {},
          el("th", { scope: "col" }, "Method"),
          columns.map((c, i) => el("th", { scope: "col", class: first(i), title: c.about }, c.title)),
        ),
      ),
      el(
        "tbody",
        {},
        lines.map((line) =>
          el(
            "tr",
            { class: line.isReference ? "ref" : null },
            el("th", { scope: "row" }, line.label),
            columns.map((c, i) => heatCell(line, i, `${line.label}, ${c.title}`, first(i))),
          ),
        ),
      ),
    ),
    true,
  );
}

function heatCell(line: EditLine, column: number, name: string, first: string | null): Markup {
  const value = line.values[column]!;
  if (value.mean === null) {
    const why = line.status === "ok" ? "–" : line.status;
    return el("td", { class: first }, el("span", { class: "dim", title: `${name}: ${line.status === "ok" ? notRun : line.status}` }, why));
  }
  const shade = line.isReference ? null : `--v:${Math.round(Math.max(0, Math.min(100, value.mean)))}%`;
  return el("td", { class: first, style: shade, title: `${name}: ${formatStat(value, "points")}` }, value.mean.toFixed(0));
}

/** A radar a method over all columns that were asked of it. */
function profiles({ columns, lines }: EditTable): readonly Markup[] {
  const reference = lines.find((line) => line.isReference)!;
  return lines
    .filter((line) => !line.isReference && line.status === "ok")
    .map((line, index) => {
      const spokes = columns.flatMap((c, i) =>
        line.values[i]!.mean === null ? [] : [{ title: c.title, value: line.values[i]!.mean, reference: reference.values[i]!.mean }],
      );
      return figure(line.label, radarChart(spokes, { label: line.label, color: seriesColor(index) }), "Dashed: before any edit.");
    });
}

function protocolTable({ label, protocols: ids, lines }: ProtocolTable, title: string): Markup {
  return scrolling(
    `${title}: every protocol of ${label}`,
    el(
      "table",
      {},
      el(
        "thead",
        {},
        el(
          "tr",
          {},
          el("th", { scope: "col" }, "Question"),
          el("th", { scope: "col", class: "n", title: "answers that the model named before the edit" }, "known"),
          ids.map((id) =>
            el("th", { scope: "col", class: "n", title: `${protocols[id].about}; ${protocols[id].named}` }, id.replace(/-/g, " ")),
          ),
        ),
      ),
      el(
        "tbody",
        {},
        lines.map((line) =>
          el(
            "tr",
            {},
            el("th", { scope: "row" }, line.kind.replace(/-/g, " ")),
            el("td", { class: "n" }, line.known?.mean == null ? dash : line.known.mean.toFixed(1)),
            line.values.map(({ after, before, unit }) => el("td", { class: "n" }, beforeAfter(after.mean, before?.mean ?? null, unit))),
          ),
        ),
      ),
    ),
    true,
  );
}

const dash = el("span", { class: "dim" }, "–");

function beforeAfter(after: number | null, before: number | null, unit: string): Child {
  if (after === null) return dash;
  const text = (value: number): string => (unit === "points" ? value.toFixed(1) : value.toFixed(3));
  return before === null ? text(after) : [el("span", { class: "dim" }, `${text(before)} → `), text(after)];
}

/** The worst that the model said, a list a method. */
export function outputsSection(rows: readonly ReportRow[]): Markup {
  const said = rows.flatMap((row) => {
    const outputs = row.results.flatMap((r) => (r.status === "ok" ? (r.outputs ?? []) : []));
    return outputs.length === 0 ? [] : [{ row, outputs: outputs.slice(0, MOST) }];
  });
  if (said.length === 0) return join([]);
  return join([
    el("h4", {}, "The worst of what was said"),
    el(
      "div",
      { class: "cards" },
      said.map(({ row, outputs }) =>
        el(
          "section",
          { class: "card" },
          el("h3", {}, row.label),
          el(
            "ul",
            {},
            outputs.map((o) =>
              el(
                "li",
                {},
                el("p", { class: "note" }, `${o.after} · ${o.about}`),
                el("p", {}, `${o.prompt} `, el("strong", {}, o.said === "" ? "(nothing)" : o.said)),
                el("p", { class: "note" }, `right: ${o.right}`, o.before === undefined ? "" : `; before: ${o.before}`),
              ),
            ),
          ),
        ),
      ),
    ),
  ]);
}

/** Of a method, over its seeds. */
const MOST = 3;
