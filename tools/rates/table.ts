import { writeFileSync } from "node:fs";
import { join } from "node:path";
import type { Bench } from "./benches.js";

/** A learning rate, and what held-out examples said of it. */
export interface Measured {
  readonly lr: number;
  /** Mean over the seeds; absent where training diverged. */
  readonly score?: number;
  readonly outcomes: readonly { readonly metrics?: Readonly<Record<string, number>>; readonly failed?: string }[];
}

export interface RateTable {
  readonly benches: readonly Omit<Bench, "flags">[];
  readonly rows: readonly { readonly method: string; readonly bench: string; readonly rates: readonly Measured[] }[];
}

/** Writes rates.json and rates.md. @param defaults learning rate by method, as its schema has it */
export function writeTable(folder: string, table: RateTable, defaults: Readonly<Record<string, unknown>>): void {
  writeFileSync(join(folder, "rates.json"), `${JSON.stringify({ ...table, defaults }, null, 2)}\n`);
  const lines = table.rows.map(({ method, bench, rates }) => {
    const best = bestOf(rates);
    const around = rates.map((r) => `${r.lr}: ${r.score === undefined ? "diverged" : figure(r)}`).join("; ");
    const said = best === undefined ? "all diverged" : `${best.lr}: ${figure(best)}`;
    return `| ${method} | ${bench} | ${said} | ${defaults[method]} | ${around} |`;
  });
  const text = [
    "# Learning rates",
    "",
    "Written by `npm run rates`: held-out loss after training, with the accuracy (a language model's: answers right to the last token) behind it, mean over the",
    "seeds. AdamW, batches of 16, linear decay, gradients clipped to norm 1. The defaults were chosen from this table; nothing of it is test data.",
    "",
    ...table.benches.map((b) => `* ${b.name}: ${b.what}, seeds ${b.seeds.join(", ")}.`),
    "",
    "| method | model | best | default | tried |",
    "| --- | --- | --- | --- | --- |",
    ...lines,
  ];
  writeFileSync(join(folder, "rates.md"), `${text.join("\n")}\n`);
}

function bestOf(rates: readonly Measured[]): Measured | undefined {
  return rates.filter((r) => r.score !== undefined).sort((a, b) => a.score! - b.score!)[0];
}

function figure({ score, outcomes }: Measured): string {
  const right = outcomes.map(({ metrics }) => metrics?.accuracy ?? metrics?.exactMatch ?? Number.NaN);
  return `${score!.toFixed(3)} (${(right.reduce((a, b) => a + b, 0) / right.length).toFixed(3)})`;
}
