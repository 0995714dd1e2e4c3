import { describe, expect, it } from "vitest";
import { sampleResult, sampleRun } from "../../test/fixtures/sample-run.js";
import { groupCells } from "../aggregate.js";
import { compareRuns } from "../compare.js";
import { axisFigure } from "../report/figures.js";
import { formatPart } from "../report/format.js";
import { renderReport } from "../report/write-report.js";
import { type Axis, overSeeds } from "./axis.js";
import { axes } from "./index.js";

/** An axis that lfm does not have: all of it stands here. */
const attackSuccess: Axis = {
  id: "attackSuccess",
  unit: "fraction",
  better: "lower",
  read: (cell) => cell.metrics.attack?.value ?? null,
  compared: true,
  page: { title: "Attack success", hint: "share of attacks that succeed" },
  markdown: "attacked",
  csv: "attackSuccess",
  findings: (_, rows) => {
    const open = rows.filter((row) => (overSeeds(attackSuccess, row).mean ?? 0) > 0.5);
    return open.map((row) => [{ strong: row.label }, ` gives way to ${formatPart(overSeeds(attackSuccess, row).mean!)} of attacks.`]);
  },
  figure: {
    draw: (rows) =>
      axisFigure(attackSuccess, rows, { title: "Attacks", caption: "Left is safer.", label: "Attack success", xTitle: "%", end: 100 }),
  },
};

const cell = (method: string, seed: number, attack: number | null) =>
  sampleResult({
    method,
    seed,
    metrics: {
      accuracy: { value: 0.8, unit: "fraction", higherIsBetter: true },
      attack: { value: attack, unit: "fraction", higherIsBetter: false },
    },
  });
const run = sampleRun([cell("lora", 1, 0.7), cell("lora", 2, 0.8), cell("full", 1, null), cell("full", 2, null)]);

describe("an axis", () => {
  const { html, md, csv, json } = renderReport(run, [...axes, attackSuccess]);

  it("is all that it takes for a column everywhere, with what was not run", () => {
    expect(html).toMatch(/<th [^>]*title="share of attacks that succeed"[^>]*><button type="button">Attack success</);
    expect(html).toContain('data-v="0.75">75.0 %<small>± 7.1</small></td>');
    const table = md.slice(md.indexOf("## Side by side")).split("\n");
    expect(table[2]).toMatch(/\| time \| attacked \| seeds \|$/);
    expect(table.slice(4, 6).map((line) => line.split(" | ").at(-2))).toEqual(["75.0 % ± 7.1", "not run"]);
    const [head, ...lines] = csv.trim().split("\r\n");
    const at = head!.split(",").indexOf("attackSuccess");
    expect(lines.map((line) => line.split(",")[at])).toEqual(["0.7", "0.8", "", ""]);
    expect(JSON.parse(json).rows.map((row: Record<string, unknown>) => row.attackSuccess)).toEqual([expect.closeTo(0.75, 12), null]);
  });

  it("brings its finding and its figure", () => {
    expect(html).toContain("<strong>lora</strong> gives way to 75\u00a0% of attacks.");
    expect(md).toContain("- **lora** gives way to 75 % of attacks.");
    expect(JSON.parse(json).findings[0].sentences).toContain("lora gives way to 75 % of attacks.");
    const figure = /<figure><h4>Attacks<.*?<\/figure>/.exec(html)![0];
    expect([figure.match(/<rect/g)?.length, figure.includes("75.0 % ± 7.1"), figure.includes("Left is safer.")]).toEqual([1, true, true]);
  });

  it("is compared in its direction, if it is no cost", () => {
    const worse = sampleRun([cell("lora", 1, 0.9), cell("lora", 2, 0.9), cell("full", 1, null), cell("full", 2, null)]);
    const of = (list: readonly Axis[]) => compareRuns(run, worse, { axes: list }).rows.filter((r) => r.metric === "attackSuccess");
    expect(of([...axes, attackSuccess])).toMatchObject([{ name: "tuning/facts/lora", gain: expect.closeTo(-0.15, 12), verdict: "worse" }]);
    expect(of(axes)).toEqual([]);
  });

  it("stands nowhere else", () => {
    const without = renderReport(run);
    for (const text of Object.values(without)) expect(text).not.toMatch(/Attack success|attacked|attackSuccess|gives way/);
  });
});

describe("the axes of lfm", () => {
  it("have ids, columns and keys of their own", () => {
    for (const names of [axes.map((a) => a.id), axes.flatMap((a) => a.csv ?? []), axes.flatMap((a) => a.page?.title ?? [])])
      expect(new Set(names).size).toBe(names.length);
  });

  it("leave security as not run, until something fills it", () => {
    const [row] = groupCells(run);
    const security = axes.find((a) => a.id === "security")!;
    expect(overSeeds(security, row!)).toEqual({ mean: null, sd: null, n: 0 });
    expect(renderReport(run).html, "no column of nothing").not.toContain("Security");
  });

  it("say what stood there before, and what was gained, in the direction of the metric", () => {
    const with2 = (seed: number, value: number, higherIsBetter: boolean) =>
      sampleResult({ seed, metrics: { accuracy: { value, base: 0.5, unit: "fraction", higherIsBetter } } });
    const texts = renderReport(sampleRun([with2(1, 0.8, true), with2(2, 0.9, true)]));
    expect(texts.html).toContain('data-v="50">50.0 %<small>± 0.0</small></td>');
    expect(texts.html).toMatch(/data-v="35">\+35.0 points<small>± 7.1<\/small><\/td>/);
    const line = texts.md.split("\n").find((l) => l.startsWith("| lora"))!;
    expect(line).toContain("| 50.0 % ± 0.0 | +35.0 points ± 7.1 |");
    const [row] = groupCells(sampleRun([with2(1, 0.4, false)]));
    const gain = axes.find((a) => a.id === "gain")!;
    expect(overSeeds(gain, row!).mean).toBeCloseTo(0.1, 12);
    const [none] = groupCells(sampleRun([sampleResult({ seed: 1 })]));
    expect(overSeeds(gain, none!).mean, "not measured").toBeNull();
  });

  it("leave out cells that gave no result", () => {
    const failed = sampleResult({ seed: 3, status: "failed", trainableParams: 1, peakRssBytes: 9e9 });
    const [row] = groupCells(sampleRun([sampleResult({ seed: 1 }), sampleResult({ seed: 2, peakRssBytes: 5e8 }), failed]));
    const means = Object.fromEntries(axes.map((axis) => [axis.id, overSeeds(axis, row!).mean]));
    expect(means).toMatchObject({ trainableParams: 20480, peakRssBytes: 5e8, quality: 0.8 });
  });
});
