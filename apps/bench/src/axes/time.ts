import { axisFigure } from "../report/figures.js";
import { type Axis, overSeeds } from "./axis.js";

export const time: Axis = {
  id: "wallMs",
  unit: "ms",
  better: "lower",
  read: (cell) => cell.wallMs,
  page: { title: "Time", hint: "wall time of a cell, without set-up that cells share" },
  markdown: "time",
  csv: "wallMs",
  json: (row) => overSeeds(time, row),
  tile: "time in cells",
  figure: {
    draw: (rows) =>
      axisFigure(time, rows, {
        title: "Time",
        caption: "One cell: training and measuring, without set-up. Every step right is a multiple, not a sum.",
        label: "Wall time",
        xTitle: "seconds a cell (log)",
        log: true,
      }),
  },
};
