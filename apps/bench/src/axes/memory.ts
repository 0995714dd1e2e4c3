import type { Axis } from "./axis.js";

export const memory: Axis = {
  id: "peakRssBytes",
  unit: "bytes",
  better: "lower",
  read: (cell) => cell.peakRssBytes,
  aggregate: (values) => {
    const taken = values.filter((v) => v !== null);
    return { mean: taken.length === 0 ? null : Math.max(...taken), sd: null, n: taken.length };
  },
  page: { title: "Memory", hint: "peak resident size of the process, with what earlier cells left" },
  csv: "peakRssBytes",
};
