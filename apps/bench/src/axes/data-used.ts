import { spell } from "../report/format.js";
import { rank } from "../separation.js";
import { type Axis, overSeeds } from "./axis.js";

export const dataUsed: Axis = {
  id: "dataUsed",
  unit: "count",
  better: "lower",
  read: (cell) => cell.dataUsed,
  page: { title: "Data", hint: "real examples used for learning" },
  markdown: "data",
  csv: "dataUsed",
  findings: (task, rows) => {
    const ranked = rank(rows).map(({ row }) => row);
    const free = ranked.filter((row) => overSeeds(dataUsed, row).mean === 0);
    if (free.length === 0 || free.length === ranked.length) return [];
    return [[{ strong: free.map((row) => row.label).join(", ") }, ` used no real data on ${spell(task)}.`]];
  },
};
