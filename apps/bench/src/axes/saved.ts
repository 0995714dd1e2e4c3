import { axisFigure } from "../report/figures.js";
import type { Axis } from "./axis.js";

export const saved: Axis = {
  id: "bytes",
  unit: "bytes",
  better: "lower",
  read: (cell) => cell.bytes,
  page: { title: "Saved", hint: "size of what was learned, on disk" },
  markdown: "saved",
  csv: "bytes",
  figure: {
    place: "last",
    draw: (rows) =>
      axisFigure(saved, rows, {
        title: "Size of what was learned",
        caption: "What has to be stored per task, as saved.",
        label: "Bytes saved",
        xTitle: "bytes saved (log)",
        log: true,
      }),
  },
};
