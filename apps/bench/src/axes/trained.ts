import type { Axis } from "./axis.js";

export const trained: Axis = {
  id: "trainableParams",
  unit: "count",
  better: "lower",
  read: (cell) => cell.trainableParams,
  page: { title: "Trained", hint: "parameters that were trained" },
  markdown: "trained",
  csv: "trainableParams",
};
