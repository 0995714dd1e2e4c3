import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { probeKindIds } from "@lfm/editing";
import { expect, it } from "vitest";
import { editingPage } from "./editing-page.js";

const asked = ["efficacy.success", "paraphrase.success", "same-value.success", "distractor.generated", "unrelated.unchanged", "score"];
/** Some seeds of each method: what CounterFact asks, what is added. */
const csv = (rows: Readonly<Record<string, readonly [number, number]>>, seeds: readonly number[] = [1, 2, 3]): string =>
  [
    ["task", "method", "seed", "status", ...asked.map((name) => `metric.${name}`)].join(","),
    ...Object.entries(rows).flatMap(([method, [set, added]]) =>
      seeds.map((seed) =>
        ["single-edits", method, seed, "ok", ...[set, set, set].map((v) => v + seed / 10), added, added - seed / 10, ""].join(","),
      ),
    ),
  ].join("\n");

it("names every kind of question, and who asks it", () => {
  const page = editingPage(undefined);
  for (const kind of probeKindIds) expect(page).toContain(`| ${kind}: `);
  expect(page).toMatch(/\| same-value: .* \| CounterFact, here \|/);
  expect(page).toMatch(/\| distractor: .* \| here \|/);
  expect(page).toContain("Not run");
});

it("finds pairs whose order turns round, and no others", () => {
  const page = editingPage(csv({ rome: [99, 60], grace: [95, 90], ike: [90, 95] }));
  expect(page).toContain("| rome | 99.2 | not run | 59.9 | not run |");
  expect(page).toContain("* rome is above grace by CounterFact's questions, below by those that are added.");
  expect(page).not.toContain("* grace is above rome");
  expect(editingPage(csv({ rome: [99, 90], grace: [95, 60] }))).toContain("No pair of methods changes places");
  expect(editingPage(csv({ rome: [99, 60], grace: [95, 90] }, [7]))).toContain("is told from 3 seeds or more");
});

it("is what stands in docs", () => {
  const docs = join(import.meta.dirname, "../docs");
  const results = join(docs, "results/editing.csv");
  expect(readFileSync(join(docs, "editing.md"), "utf8")).toBe(editingPage(existsSync(results) ? readFileSync(results, "utf8") : undefined));
});
