import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { fullRun } from "../../test/fixtures/full-run.js";
import { reuseRun } from "../../test/fixtures/reuse-run.js";
import { sampleResult, sampleRun } from "../../test/fixtures/sample-run.js";
import { groupCells } from "../aggregate.js";
import { openStore } from "../store.js";
import { writeSummary } from "../summary.js";
import { findFindings } from "./findings.js";
import { escapeText } from "./markup.js";
import { script } from "./script.js";
import { renderReport, writeReport } from "./write-report.js";

const say = (run: Parameters<typeof groupCells>[0]): string =>
  findFindings(groupCells(run))
    .flatMap((f) => f.sentences.map((s) => s.map((p) => (typeof p === "string" ? p : p.strong)).join("")))
    .join("\n");

describe("report", () => {
  it("asks nothing of the network and has a short script", () => {
    const { html } = renderReport(fullRun());
    expect(html).not.toMatch(/<(script|img|iframe)[^>]+src=|<link[^>]+href="(?!data:)|@import|url\(/);
    expect(script.trim().split("\n").length).toBeLessThanOrEqual(150);
  });

  it("escapes whatever stands in names, errors and configs", () => {
    const evil = `"><script>alert('x')</script>&`;
    const bad = sampleResult({
      method: evil,
      task: evil,
      model: evil,
      variant: evil,
      headline: evil,
      metrics: { [evil]: { value: 0.5, unit: evil, higherIsBetter: true, note: evil } },
      curves: {
        [evil]: [
          [0, 1],
          [1, 2],
        ],
      },
    });
    const failed = sampleResult({ method: `${evil}2`, status: "failed", error: { code: "INTERNAL", message: evil, hint: evil } });
    const { html, md, csv } = renderReport(sampleRun([bad, failed]));
    expect(html.match(/<script/g)).toHaveLength(1);
    expect(html).toContain(escapeText(evil));
    expect(md).not.toMatch(/(?<!\\)<script/);
    expect(csv).toContain(`"""><script>`);
  });

  it("stands in the survey's order, with retrieval under tuning", () => {
    const { html } = renderReport(fullRun());
    const at = ["tuning", "retrieval", "distillation", "reuse", "meta", "editing"].map((p) => html.indexOf(`<h2 id="${p}"`));
    expect(at.every((v) => v > 0)).toBe(true);
    expect(at).toEqual([...at].sort((a, b) => a - b));
  });

  it("shows failures, skips and what was not run plainly", () => {
    const { html, md } = renderReport(fullRun());
    for (const text of [
      "NUMERIC_DIVERGED",
      "loss is NaN at step 311",
      "lower the learning rate",
      "LFM_DATA is not set",
      "not run",
      "1 planned cell not run",
    ])
      expect(html).toContain(text);
    expect(md).toContain("NUMERIC\\_DIVERGED");
  });

  it("gives mean and deviation over seeds", () => {
    const run = sampleRun([0.7, 0.8, 0.9].map((accuracy, seed) => sampleResult({ accuracy, seed })));
    const { html, md, json } = renderReport(run);
    expect(html).toContain("80.0 % ± 10.0");
    expect(md).toContain("80.0 % ± 10.0");
    expect(JSON.parse(json).rows[0].metrics.accuracy).toMatchObject({ mean: expect.closeTo(0.8, 12), sd: expect.closeTo(0.1, 12), n: 3 });
  });

  it("shows the set-up that cells share by task, and not in their time", () => {
    const cells = [1, 2].flatMap((seed) => [
      sampleResult({ method: "a", seed, wallMs: 2000, setupMs: 9000 }),
      sampleResult({ method: "b", seed, wallMs: 2000, setupMs: 1000 }),
    ]);
    const { html, md, csv } = renderReport(sampleRun(cells));
    expect(md).toContain("| facts | Model tuning | 10.0 s |");
    expect(md).toMatch(/\| a \|.*\| 2\.00 s \|/);
    expect(html).toMatch(/aria-label="Shared set-up".*10\.0 s/);
    expect(csv.split("\r\n")[0]).toContain("wallMs,setupMs");
    const { html: without, md: none } = renderReport(sampleRun([sampleResult()]));
    expect([without.includes("Shared set-up"), none.includes("Set-up")]).toEqual([false, false]);
  });

  describe("of merges", () => {
    const { html, md } = renderReport(reuseRun());
    const svgOf = (label: string): string => new RegExp(`<svg[^>]*aria-label="${label}".*?</svg>`).exec(html)?.[0] ?? "";

    it("has the table method by task on the page and as Markdown, references first and the best bold", () => {
      const lines = md.slice(md.indexOf("## text tasks merge: accuracy by task, %")).split("\n");
      expect(lines[2]).toBe("| method | mood | negation | topic | order | average |");
      expect(lines.slice(4, 8).map((l) => l.split(" | ")[0])).toEqual(["| *base*", "| *individual*", "| *multitask*", "| average"]);
      expect(lines.find((l) => l.startsWith("| wemoe"))).toMatch(/^\| wemoe( \| \*\*\d+\.\d ± \d\.\d\*\*){5} \|$/);
      expect(md).toContain("| smile | failed | failed | failed | failed | failed |");
      expect(html.match(/<tr class="ref">/g)).toHaveLength(3);
      const cell = /\| wemoe \| \*\*(.*?)\*\*/.exec(md)![1]!;
      expect(html).toContain(`<strong>${cell}</strong>`);
    });

    it("has a panel a task, with a bar a method and a line for each thing they are measured against", () => {
      for (const task of ["mood", "negation", "topic", "order"]) {
        const panel = svgOf(`Accuracy on ${task} by method`);
        expect([panel.match(/<rect/g)?.length, panel.match(/class="mark-line"/g)?.length]).toEqual([15, 3]);
        expect(panel).toContain("failed");
      }
    });

    it("puts both curves of a method in a panel with bands over seeds, on one axis, and barriers of all methods in one", () => {
      const [one, other] = [svgOf("loss by α: re-basin"), svgOf("loss by α: ot-fusion")];
      for (const panel of [one, other]) {
        expect([panel.match(/<polyline/g)?.length, panel.match(/class="band"/g)?.length, panel.match(/<circle/g)?.length]).toEqual([
          2, 2, 4,
        ]);
        expect(panel).not.toContain("(log)");
      }
      const merged = svgOf("loss by α: zipit");
      expect([merged.match(/<polyline/g)?.length, html.includes("dots are the ends, and the merged net.")]).toEqual([2, true]);
      const axis = (panel: string) => panel.match(/<text class="tick"[^>]*>[^<]*/g);
      expect(axis(one)).toEqual(axis(other));
      expect(svgOf("barrier of matched nets over α").match(/<polyline/g)).toHaveLength(2);
    });

    it("has bars of the rate and of memory beside what was planned", () => {
      expect(svgOf("rate by method").match(/<rect/g)).toHaveLength(4);
      const memory = svgOf("Peak memory by method");
      expect([memory.match(/<rect/g)?.length, memory.match(/planned: 256 MiB/g)?.length]).toEqual([4, 1]);
    });

    it("is not there where no cell has what it needs", () => {
      const other = renderReport(fullRun());
      expect(other.html).not.toMatch(/class="mark-line"|<tr class="ref"|Peak memory by method|class="band"/);
      expect(other.md).not.toContain("accuracy by task");
    });
  });

  it("is written even when nothing has run", () => {
    expect(renderReport(sampleRun([])).html).toContain("No cell has a result yet");
  });

  it("writes four files beside the results", () => {
    const dir = mkdtempSync(join(tmpdir(), "lfm-report-"));
    const run = fullRun();
    const store = openStore(dir);
    for (const result of run.results) store.write(result);
    writeSummary(dir, run.summary);
    const paths = writeReport(dir);
    expect(readFileSync(paths.html, "utf8")).toBe(renderReport(run).html);
    expect(readFileSync(paths.csv, "utf8").trim().split("\r\n")).toHaveLength(run.results.length + 1);
    rmSync(dir, { recursive: true });
  });
});

describe("findings", () => {
  const threeTimes = (accuracy: number, change: Parameters<typeof sampleResult>[0]) =>
    [1, 2, 3].map((seed) => sampleResult({ ...change, seed, accuracy: accuracy + 0.001 * seed }));

  it("name the leader, the frugal one and the forgetful one", () => {
    const said = say(
      sampleRun([
        ...threeTimes(0.948, { method: "full", trainableParams: 1e6, retention: { of: "base facts", before: 1, after: 0.7, kept: 0.7 } }),
        ...threeTimes(0.938, { method: "lora", trainableParams: 2e4, retention: { of: "base facts", before: 1, after: 0.98, kept: 0.98 } }),
      ]),
    );
    expect(said).toContain("full leads facts with 95.0 % ± 0.1 accuracy (mean ± sd of 3 seeds); lora follows with 94.0 %.");
    expect(said).toContain("lora comes within 1.0 points of it and trains 20 k parameters, 2.0 % of full’s.");
    expect(said).toContain("lora keeps 98 %, full 70 %");
    expect(said).not.toContain("Does not separate");
  });

  it("call level what the seeds do not tell apart, and rank nothing by one seed", () => {
    const [a, b] = [
      [0.8, 0.84, 0.88],
      [0.82, 0.83, 0.84],
    ].map((values, m) => values.map((accuracy, seed) => sampleResult({ method: "ab"[m]!, seed, accuracy })));
    expect(say(sampleRun([...a!, ...b!]))).toContain(
      "a and b are level on facts: 84.0 % ± 4.0 accuracy (mean ± sd of 3 seeds) and 83.0 %.",
    );
    const one = say(sampleRun([sampleResult({ method: "a", accuracy: 0.9 }), sampleResult({ method: "b", accuracy: 0.3 })]));
    expect(one).toContain("a has 90.0 % accuracy on facts, b 30.0 %: fewer than 3 seeds, which rank nothing.");
    expect(one).not.toContain("leads");
  });

  it("say where a task does not tell its methods apart", () => {
    const said = say(sampleRun([0.999, 1, 0.7].flatMap((accuracy, i) => sampleResult({ method: `m${i}`, accuracy }))));
    expect(said).toContain("Does not separate on facts: m1, m0 (2 of 3 methods) are above 99.0 %.");
    const near = say(
      sampleRun(
        [0.8, 0.81].flatMap((accuracy, i) =>
          [0, 1, 2].map((seed) => sampleResult({ method: `m${i}`, seed, accuracy: accuracy + seed * 0.05 })),
        ),
      ),
    );
    expect(near).toContain("Does not separate on facts: m1, m0 (2 of 2 methods) lie within one standard error of each other.");
  });

  it("know that a lower error is better", () => {
    const mse = (method: string, value: number) =>
      [1, 2, 3].map((seed) =>
        sampleResult({ method, seed, headline: "mse", metrics: { mse: { value, unit: "ratio", higherIsBetter: false } } }),
      );
    expect(say(sampleRun([...mse("a", 0.9), ...mse("b", 0.25)]))).toContain(
      "b leads facts with 0.250 ± 0 mse (mean ± sd of 3 seeds); a follows with 0.900.",
    );
  });

  it("say nothing of what failed but that it did", () => {
    expect(say(sampleRun([sampleResult({ status: "failed", metrics: {}, retention: null, monitors: [] })]))).toBe(
      "lora gave no result on facts: see below.",
    );
  });
});
