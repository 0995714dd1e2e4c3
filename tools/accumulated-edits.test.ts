import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, it } from "vitest";
import { accumulatedEdits } from "./accumulated-edits.js";

/** By method: what each seed has of efficacy, perplexity and reading. */
const csv = (rows: Readonly<Record<string, readonly (readonly [number, number, number | ""])[]>>): string =>
  [
    "method,seed,status,metric.efficacy.success,metric.perplexity,metric.reading",
    ...Object.entries(rows).flatMap(([method, seeds]) => seeds.map((values, seed) => [method, seed, "ok", ...values].join(","))),
    "alphaedit,9,failed,1,1,1",
  ].join("\n");

it("pairs seeds, and says where the interval leaves out zero on the better side", () => {
  const page = accumulatedEdits(
    csv({
      alphaedit: [
        [50, 9, 80],
        [52, 9.2, 70],
        [51, 9.1, ""],
      ],
      "subject-memory": [
        [99, 8, 75],
        [100, 8.1, 75],
        [98, 8.2, 75],
      ],
    }),
  );
  expect(page).toContain("| retention: all edits, likelier than before | 99.00 (3) | 51.00 (3) |");
  // Differences 49, 48, 47: 48 ± 4.303 · 1/√3.
  expect(page).toContain("| retention: all edits, likelier than before | **+48.00 ± 2.48** |");
  expect(page).toContain("| perplexity | **−1.00 ± ");
  // Two seeds carry no interval.
  expect(page).toContain("| kept: reading passages | +0.00 (2) |");
  expect(page).toContain("| ms an edit | not run |");
});

it("is what stands in docs", () => {
  const docs = join(import.meta.dirname, "../docs");
  const results = join(docs, "results/editing-accumulate.csv");
  expect(readFileSync(join(docs, "accumulated-edits.md"), "utf8")).toBe(
    accumulatedEdits(existsSync(results) ? readFileSync(results, "utf8") : undefined),
  );
});
