import type { Monitor } from "@lfm/core";
import type { ReportRow, SeedMonitor } from "../aggregate.js";
import { figure } from "./figures.js";
import { formatNumber, plural, spell } from "./format.js";
import { lineChart } from "./lines.js";
import { el, join, type Markup } from "./markup.js";

/** One check, all seeds: of one method, or of several of a task for which it came out the same. */
interface Check {
  readonly label: string;
  readonly task: string;
  readonly id: Monitor["id"];
  readonly seeds: readonly SeedMonitor[];
  readonly warned: readonly SeedMonitor[];
}

/** Warnings first, each with its number; then curves; the checks that passed are folded away. */
export function monitorSection(rows: readonly ReportRow[]): Markup {
  const checks = joined(rows.flatMap(checksOf));
  const warned = checks.filter((c) => c.warned.length > 0);
  const passed = checks.filter((c) => c.warned.length === 0);
  const curves = [...warned, ...passed].filter((c) => c.seeds.some(hasCurve));
  return join([
    el("h2", { id: "monitors" }, "Monitors"),
    el(
      "p",
      { class: "soft" },
      "Checks for ways in which learning from models goes wrong: catastrophic forgetting (or interference, where no weight changed and it passes with the prompt), mode collapse, retrieval noise.",
    ),
    checks.length === 0 ? el("p", {}, "No check was taken in this run.") : "",
    checks.length > 0 && warned.length === 0
      ? el("p", {}, el("span", { class: "tag ok" }, "no warning"), ` ${plural(checks.length, "check")} passed.`)
      : "",
    warned.map(warning),
    curves.length > 0 ? el("div", { class: "figures" }, curves.map(curveFigure)) : "",
    passed.length > 0
      ? el(
          "details",
          {},
          el("summary", {}, `${plural(passed.length, warned.length > 0 ? "other check" : "check")} passed`),
          el(
            "ul",
            { class: "note" },
            passed.map((c) =>
              el(
                "li",
                {},
                `${name(c)}: ${c.seeds[0]!.message}${c.seeds.length > 1 ? `, and in ${plural(c.seeds.length - 1, "more seed")}` : ""}`,
              ),
            ),
          ),
        )
      : "",
  ]);
}

function checksOf(row: ReportRow): Check[] {
  return [...new Set(row.monitors.map((m) => m.id))].map((id) => {
    const seeds = row.monitors.filter((m) => m.id === id);
    return { label: row.label, task: row.task, id, seeds, warned: seeds.filter((m) => m.warning) };
  });
}

/** What came out the same for several methods of a task stands once, with all their names. */
function joined(checks: readonly Check[]): readonly Check[] {
  const found = new Map<string, Check>();
  for (const check of checks) {
    const key = JSON.stringify([check.id, check.task, check.seeds]);
    const there = found.get(key);
    found.set(key, there ? { ...there, label: `${there.label}, ${check.label}` } : check);
  }
  return [...found.values()];
}

const hasCurve = (m: Monitor): boolean => (m.curve?.length ?? 0) > 1;
const name = (c: Check): string => `${spell(c.id)}, ${c.label} on ${spell(c.task)}`;

function warning(check: Check): Markup {
  const { seeds, warned } = check;
  const count = seeds.length > 1 ? `${warned.length} of ${seeds.length} seeds` : "";
  return el(
    "div",
    { class: "alert" },
    el("p", {}, el("strong", {}, `${spell(check.id)}: ${check.label}`), ` on ${spell(check.task)}${count ? ` · ${count}` : ""}`),
    warned.map((m) =>
      el("p", { class: "note" }, seeds.length > 1 ? `seed ${m.seed}: ` : "", m.message, ` (threshold ${formatNumber(m.threshold)})`),
    ),
  );
}

function curveFigure(check: Check): Markup {
  const drawn = check.seeds.filter(hasCurve).sort((a, b) => a.seed - b.seed);
  const chart = lineChart(
    drawn.map((m, index) => ({ name: `seed ${m.seed}`, points: m.curve!, index })),
    { label: name(check), xTitle: axes[check.id].x, yTitle: axes[check.id].y, threshold: thresholdOf(drawn[0]!) },
  );
  const lines = drawn.length > 1 ? "A line a seed. " : "";
  return figure(`${spell(check.id)}: ${check.label}`, chart, `${drawn[0]!.message}. ${lines}Red and dashed: the threshold.`);
}

const axes: Readonly<Record<Monitor["id"], { readonly x: string; readonly y: string }>> = {
  "catastrophic-forgetting": { x: "progress", y: "kept" },
  interference: { x: "progress", y: "kept" },
  "mode-collapse": { x: "step", y: "diversity" },
  "retrieval-noise": { x: "share of irrelevant passages", y: "accuracy, 0 to 1" },
};

/** Where the curve itself crosses into a warning: noise is judged by what is lost of the first value. */
function thresholdOf({ id, threshold, curve }: Monitor): number {
  return id === "retrieval-noise" ? curve![0]![1] - threshold : threshold;
}
