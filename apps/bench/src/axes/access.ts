import type { Axis } from "./axis.js";

export const access: Axis = {
  id: "access",
  unit: "count",
  read: (cell) => cell.access.length,
  page: { title: "Access", hint: "what the method may see of the model", kind: "text" },
  entry: (row) => ({ shown: row.access.join(", ") || "–", sort: row.access.length }),
};
