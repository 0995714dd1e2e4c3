import type { Axis } from "./axis.js";

export const queries: Axis = {
  id: "queries",
  unit: "count",
  better: "lower",
  read: (cell) => cell.queries,
  page: { title: "Queries", hint: "calls to a black-box model" },
  csv: "queries",
};
