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
    const suits = suitsAll(table.rows.filter((row) => row.method === method).map((row) => row.rates));
    return `| ${method} | ${bench} | ${said} | ${suits ?? "none"} | ${defaults[method]} | ${around} |`;
  });
  const text = [
    "# Learning rates",
    "",
    "Written by `npm run rates`: held-out loss after training, with the accuracy (among the labels) behind it, mean over the seeds. AdamW, batches of 16, linear",
    'decay, gradients clipped to norm 1. "Suits all" loses least accuracy on the model where it loses most, and then has the least loss. Defaults are',
    "chosen from this table: what suits all; where the encoder was not swept, a step less than the best of the decoder if that costs no more than 2 points, for the",
    "encoder wants smaller steps where both are known. Nothing of it is test data.",
    "",
    ...table.benches.map((b) => `* ${b.name}: ${b.what}, seeds ${b.seeds.join(", ")}.`),
    "",
    "| method | model | best | suits all | default | tried |",
    "| --- | --- | --- | --- | --- | --- |",
    ...lines,
  ];
  writeFileSync(join(folder, "rates.md"), `${text.join("\n")}\n`);
}

/** The rate that loses least accuracy on the model where it loses most, among those that were tried on all; then by loss. */
function suitsAll(all: readonly (readonly Measured[])[]): number | undefined {
  const [first = []] = all;
  const worst = (lr: number): readonly [number, number] => {
    const at = all.map((rates) => ({ here: rates.find((r) => r.lr === lr)!, best: Math.max(...rates.map(accuracyOf)) }));
    return [
      Math.max(...at.map(({ here, best }) => best - accuracyOf(here))),
      at.reduce((sum, { here }) => sum + (here.score ?? Infinity), 0),
    ];
  };
  return first
    .map((r) => r.lr)
    .filter((lr) => all.every((rates) => rates.some((r) => r.lr === lr && r.score !== undefined)))
    .map((lr) => ({ lr, worst: worst(lr) }))
    .sort((a, b) => a.worst[0] - b.worst[0] || a.worst[1] - b.worst[1])[0]?.lr;
}

function accuracyOf({ score, outcomes }: Measured): number {
  if (score === undefined) return 0;
  const right = outcomes.map(({ metrics }) => metrics?.accuracy ?? metrics?.choiceAccuracy ?? Number.NaN);
  return right.reduce((a, b) => a + b, 0) / right.length;
}

function bestOf(rates: readonly Measured[]): Measured | undefined {
  return rates.filter((r) => r.score !== undefined).sort((a, b) => a.score! - b.score!)[0];
}

function figure(measured: Measured): string {
  return `${measured.score!.toFixed(3)} (${accuracyOf(measured).toFixed(3)})`;
}
