import { type ReportRow, type Stat, statOf } from "../aggregate.js";
import { axisFigure } from "../report/figures.js";
import { formatPart, formatStat } from "../report/format.js";
import { type Axis, overSeeds } from "./axis.js";

/** Shares that are nearer than this are no finding. */
const NEAR = 0.02;

export const kept: Axis = {
  id: "retention",
  unit: "fraction",
  better: "higher",
  read: (cell) => cell.retention?.kept ?? null,
  compared: true,
  page: { title: "Kept", hint: "share of what the model could do before that is left" },
  markdown: "kept",
  csv: "kept",
  json: retained,
  findings: (_, rows) => {
    const found = rows
      .flatMap((row) => {
        const { mean } = overSeeds(kept, row);
        return mean === null ? [] : [{ row, mean }];
      })
      .sort((a, b) => b.mean - a.mean);
    const [most, least] = [found[0], found.at(-1)];
    if (!most || !least || most.mean - least.mean < NEAR) return [];
    return [
      [
        "Of what the model could do before (",
        `${retained(most.row)!.of}), `,
        { strong: most.row.label },
        ` keeps ${formatPart(most.mean)}, `,
        { strong: least.row.label },
        ` ${formatPart(least.mean)}.`,
      ],
    ];
  },
  figure: {
    draw: (rows) =>
      axisFigure(kept, rows, {
        title: "Kept of what the model could do",
        caption: "100 % means nothing was forgotten; left of the dashed line the forgetting monitor warns.",
        label: "Quality kept",
        xTitle: "% of the quality before",
        threshold: 90,
        end: 100,
        hover: (row) => {
          const { of, before, after } = retained(row)!;
          return `${row.label}: ${of} ${formatStat(before, "fraction")} before, ${formatStat(after, "fraction")} after`;
        },
      }),
  },
};

interface Retained {
  readonly of: string;
  readonly before: Stat;
  readonly after: Stat;
  readonly kept: Stat;
}

function retained(row: ReportRow): Retained | null {
  const found = row.results.flatMap((r) => (r.status === "ok" && r.retention ? [r.retention] : []));
  const [first] = found;
  if (!first) return null;
  const over = (what: "before" | "after" | "kept"): Stat => statOf(found.map((r) => r[what]));
  return { of: first.of, before: over("before"), after: over("after"), kept: over("kept") };
}
