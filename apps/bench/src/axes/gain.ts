import { headlineOf, type ReportRow, type Stat, statOf } from "../aggregate.js";
import { axisValue, formatGain } from "../report/format.js";
import { type Axis, notRunEntry } from "./axis.js";

/** What the method added to the headline metric; above 0 is better, whichever way the metric goes. */
export const gain: Axis = {
  id: "gain",
  better: "higher",
  read: (cell) => {
    const metric = cell.headline === undefined ? undefined : cell.metrics[cell.headline];
    if (metric?.base === undefined || metric.value === null) return null;
    return metric.higherIsBetter ? metric.value - metric.base : metric.base - metric.value;
  },
  page: { title: "Gain", hint: "quality less base, seed by seed; above 0 is better" },
  entry: (row) => {
    const { unit } = headlineOf(row) ?? {};
    const stat = gains(row);
    return unit === undefined || stat.mean === null ? notRunEntry : { shown: formatGain(stat, unit), sort: axisValue(stat.mean, unit) };
  },
  markdown: { gain: (row) => formatGain(gains(row), headlineOf(row)?.unit ?? "") },
  csv: "gain",
};

function gains(row: ReportRow): Stat {
  return statOf(row.results.filter((r) => r.status === "ok").map((r) => gain.read(r)));
}
