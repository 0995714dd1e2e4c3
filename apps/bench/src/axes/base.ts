import { headlineOf } from "../aggregate.js";
import { axisValue, formatStat } from "../report/format.js";
import { type Axis, notRunEntry } from "./axis.js";

/** The headline metric of the model as it was, on the same questions. */
export const base: Axis = {
  id: "base",
  better: "higher",
  read: (cell) => (cell.headline === undefined ? null : (cell.metrics[cell.headline]?.base ?? null)),
  page: { title: "Base", hint: "the same metric of the model as it was before the method" },
  entry: (row) => {
    const metric = headlineOf(row);
    if (!metric?.base || metric.base.mean === null) return notRunEntry;
    return { shown: formatStat(metric.base, metric.unit), sort: axisValue(metric.base.mean, metric.unit) };
  },
  markdown: { base: (row) => formatStat(headlineOf(row)?.base, headlineOf(row)?.unit ?? "") },
  csv: "base",
};
