import { svg } from "./frame.js";
import { el, type Markup } from "./markup.js";

export interface RadarSpoke {
  readonly title: string;
  /** 0..100; null is not run: the outline has a gap there. */
  readonly value: number | null;
  /** The same of what it is held against. */
  readonly reference: number | null;
}

export interface RadarOptions {
  readonly label: string;
  readonly color: string;
}

/** Titles stand left and right of the outline. */
const [WIDTH, HEIGHT, RADIUS] = [350, 250, 88];

const RINGS = [25, 50, 75, 100];

/** A small radar of shares: a spoke each, 100 outside; dashed what stood there before. */
export function radarChart(spokes: readonly RadarSpoke[], { label, color }: RadarOptions): Markup {
  const [mx, my] = [WIDTH / 2, HEIGHT / 2];
  const at = (i: number, value: number): readonly [number, number] => {
    const angle = (2 * Math.PI * i) / spokes.length - Math.PI / 2;
    const r = (RADIUS * Math.max(0, Math.min(100, value))) / 100;
    return [mx + r * Math.cos(angle), my + r * Math.sin(angle)];
  };
  const points = (values: readonly (number | null)[]): string =>
    values
      .flatMap((v, i) =>
        v === null
          ? []
          : [
              at(i, v)
                .map((c) => c.toFixed(1))
                .join(","),
            ],
      )
      .join(" ");
  return svg(
    WIDTH,
    HEIGHT,
    `${label}: ${spokes.map((s) => `${s.title} ${s.value === null ? "not run" : s.value.toFixed(0)}`).join(", ")}`,
    RINGS.map((ring) => el("polygon", { class: "grid", fill: "none", points: points(spokes.map(() => ring)) })),
    spokes.map((spoke, i) => {
      const [x, y] = at(i, 100);
      const outward = 1 + 11 / RADIUS;
      const [tx, ty] = [mx + (x - mx) * outward, my + (y - my) * outward];
      const anchor = Math.abs(tx - mx) < 4 ? "middle" : tx > mx ? "start" : "end";
      return [
        el("line", { class: "grid", x1: mx, y1: my, x2: x, y2: y }),
        el("text", { class: "tick", x: tx, y: ty + 3.5, "text-anchor": anchor }, spoke.title),
      ];
    }),
    el("polygon", { class: "front", points: points(spokes.map((s) => s.reference)) }),
    el("polygon", { points: points(spokes.map((s) => s.value)), fill: color, "fill-opacity": 0.22, stroke: color, "stroke-width": 1.8 }),
    spokes.map(({ title, value }, i) => {
      if (value === null) return undefined;
      const [cx, cy] = at(i, value);
      return el("circle", { cx, cy, r: 3, fill: color }, el("title", {}, `${title}: ${value.toFixed(1)}`));
    }),
  );
}
