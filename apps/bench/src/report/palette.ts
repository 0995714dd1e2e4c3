import type { Paradigm } from "@lfm/core";
import { type Attributes, el, type Markup } from "./markup.js";

/** Okabe and Ito's colours, told apart under every common colour blindness; the page's style sheet holds them for light and dark. */
const colorCount = 7;

/** Colour of the i-th series of a chart; beyond the palette the dashes change. */
export function seriesColor(i: number): string {
  return `var(--s${i % colorCount})`;
}

/** Series differ in dash too: colour alone never carries meaning. */
export function seriesDash(i: number): string | undefined {
  return [undefined, "6 3", "2 3", "8 3 2 3", "4 2", "1 2", "10 4"][i % colorCount];
}

export const paradigmTitles: Readonly<Record<Paradigm, string>> = {
  tuning: "Model tuning",
  retrieval: "Retrieval",
  distillation: "Distillation",
  reuse: "Model reuse",
  meta: "Meta-learning",
  editing: "Model editing",
  probe: "Probes",
};

const paradigmIndex: Readonly<Record<Paradigm, number>> = {
  tuning: 0,
  retrieval: 1,
  distillation: 2,
  reuse: 3,
  meta: 4,
  editing: 5,
  probe: 6,
};

export function paradigmColor(paradigm: Paradigm): string {
  return `var(--s${paradigmIndex[paradigm]})`;
}

/** The mark of a paradigm: a shape and a colour of its own, about 2r wide. */
export function paradigmMark(paradigm: Paradigm, x: number, y: number, r: number, attributes: Attributes = {}, title?: string): Markup {
  const style = { fill: paradigmColor(paradigm), ...attributes };
  const children = title === undefined ? [] : [el("title", {}, title)];
  const points = (list: readonly (readonly [number, number])[]): string =>
    list.map(([dx, dy]) => `${(x + dx * r).toFixed(1)},${(y + dy * r).toFixed(1)}`).join(" ");
  switch (paradigm) {
    case "tuning":
      return el("circle", { cx: x, cy: y, r, ...style }, children);
    case "retrieval":
      return el("rect", { x: x - r * 0.88, y: y - r * 0.88, width: r * 1.76, height: r * 1.76, rx: 1, ...style }, children);
    case "distillation":
      return el(
        "polygon",
        {
          points: points([
            [0, -1.15],
            [1.05, 0.8],
            [-1.05, 0.8],
          ]),
          ...style,
        },
        children,
      );
    case "reuse":
      return el(
        "polygon",
        {
          points: points([
            [0, -1.25],
            [1.25, 0],
            [0, 1.25],
            [-1.25, 0],
          ]),
          ...style,
        },
        children,
      );
    case "meta":
      return el(
        "polygon",
        {
          points: points([
            [0, 1.15],
            [1.05, -0.8],
            [-1.05, -0.8],
          ]),
          ...style,
        },
        children,
      );
    case "editing":
      return el(
        "polygon",
        {
          points: points([
            [-0.36, -1.1],
            [0.36, -1.1],
            [0.36, -0.36],
            [1.1, -0.36],
            [1.1, 0.36],
            [0.36, 0.36],
            [0.36, 1.1],
            [-0.36, 1.1],
            [-0.36, 0.36],
            [-1.1, 0.36],
            [-1.1, -0.36],
            [-0.36, -0.36],
          ]),
          ...style,
        },
        children,
      );
    case "probe":
      return el("rect", { x: x - r * 1.1, y: y - r * 0.5, width: r * 2.2, height: r, ...style }, children);
  }
}
