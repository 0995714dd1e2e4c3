import { describe, expect, it } from "vitest";
import { type HeatMap, heatMapParts, heatMapSize } from "./heat-map.js";
import { svgFile } from "./svg-file.js";

const map: HeatMap = {
  title: "what",
  rows: ["a<b", "c"],
  columns: ["0", "1", "2"],
  values: [
    [0, 1, 2],
    [null, -1, 4],
  ],
};

describe("heatMapParts", () => {
  const drawn = heatMapParts(map).text;

  it("draws a cell for each value, the deeper the larger it is, and says it", () => {
    const cells = [...drawn.matchAll(/<rect[^>]*>/g)].map(([cell]) => cell);
    expect(cells).toHaveLength(6);
    expect(cells.map((c) => /fill-opacity="([\d.]+)"/.exec(c)?.[1])).toEqual(["0", "0.25", "0.5", undefined, "0.25", "1"]);
    expect(cells[4]).toContain("var(--s5)");
    expect(cells[3]).toContain('class="none"');
    expect(drawn).toContain("<title>c, 0: not run</title>");
    expect(drawn).toContain("<title>a&lt;b, 2: 2</title>");
  });

  it("takes the largest colour from outside, and names every column but where they are many", () => {
    expect(heatMapParts({ ...map, upTo: 8 }).text).toContain('fill-opacity="0.5"');
    const wide = { ...map, rows: ["a"], columns: Array.from({ length: 40 }, (_, i) => `${i}`), values: [new Array<number>(40).fill(1)] };
    expect([...heatMapParts(wide).text.matchAll(/text-anchor="middle"/g)]).toHaveLength(14);
    expect(heatMapSize(wide).width).toBeGreaterThan(40 * 20);
  });

  it("of nothing but zeros is empty, not NaN", () => {
    expect(
      heatMapParts({
        ...map,
        values: [
          [0, 0, 0],
          [0, 0, 0],
        ],
      }).text,
    ).not.toContain("NaN");
  });
});

it("svgFile makes a drawing that stands alone", () => {
  const { width, height } = heatMapSize(map);
  const file = svgFile(width, height, 'a "map"', heatMapParts(map));
  expect(file).toMatch(/^<svg xmlns="http:\/\/www\.w3\.org\/2000\/svg" /);
  expect(file).toContain('aria-label="a &quot;map&quot;"');
  expect(file).toContain("--s0:#0072b2");
  expect(file).not.toContain("undefined");
});
