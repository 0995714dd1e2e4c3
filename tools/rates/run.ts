/**
 * `npm run rates [-- METHOD…]`: sweeps the learning rate of each tuning method with `lfm sweep` on models of two kinds, and writes
 * docs/results/rates.{json,md}: what the methods' defaults were chosen by. Held-out examples choose, never test ones. The decoder is the zoo's,
 * which comes with lfm; the encoder is MiniLM, where LFM_MODELS and LFM_DATA name its folder and SST-2. Rates are tried in steps of ten,
 * then on both sides of the best. Finished sweeps in .cache/rates are kept; with --finished the table is written of them alone.
 */
import { spawnSync } from "node:child_process";
import { existsSync, mkdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { createRegistry } from "@lfm/core";
import { tuningMethods } from "@lfm/tuning";
import { type Bench, decoder, encoder } from "./benches.js";
import { type Measured, type RateTable, writeTable } from "./table.js";

const root = join(import.meta.dirname, "../..");
const cache = join(root, ".cache/rates");
const finishedOnly = process.argv.includes("--finished");
const COARSE = [1e-4, 1e-3, 1e-2, 1e-1];

interface SweepReport {
  readonly trials: readonly {
    readonly choice: { readonly lr: number };
    readonly score?: number;
    readonly outcomes: Measured["outcomes"];
  }[];
}

/** The scores of some rates, by the product's own command. */
function sweep(method: string, bench: Bench, rates: readonly number[]): readonly Measured[] {
  const out = join(cache, `${method}-${bench.name}-${rates.join("-")}`);
  const file = join(out, "sweep.json");
  if (!existsSync(file)) {
    if (finishedOnly) throw new Error(`${method} on ${bench.name}: not swept to its end, left out`);
    const seeds = ["--seeds", bench.seeds.join(","), "--steps", String(bench.steps), "--schedule", "linear", "--clip-norm", "1"];
    const flags = [...bench.flags, ...seeds, "--metric", bench.metric, "--over", `lr=${rates.join(",")}`];
    const run = spawnSync(process.execPath, [join(root, "apps/cli/bin/lfm.js"), "sweep", method, ...flags, out], {
      stdio: ["ignore", "ignore", "inherit"],
    });
    if (run.status !== 0) throw new Error(`lfm sweep ${method} on ${bench.name} ends with ${run.status}`);
  }
  const { trials } = JSON.parse(readFileSync(file, "utf8")) as SweepReport;
  return trials.map(({ choice: { lr }, score, outcomes }) => ({ lr, outcomes, ...(score === undefined ? {} : { score }) }));
}

function rowOf(method: string, bench: Bench): RateTable["rows"][number] {
  const coarse = sweep(method, bench, COARSE);
  const best = coarse[0]!;
  const near = sweep(
    method,
    bench,
    [best.lr * 0.3, best.lr * 3].map((lr) => Number(lr.toPrecision(1))),
  );
  return { method, bench: bench.name, rates: [...coarse, ...near].sort((a, b) => a.lr - b.lr) };
}

mkdirSync(cache, { recursive: true });
const registry = createRegistry(tuningMethods);
const asked = process.argv.slice(2).filter((name) => name !== "--finished");
// What changes nothing by gradients has no rate.
const methods = (asked.length > 0 ? asked : tuningMethods.map((m) => m.id)).filter((id) => "lr" in registry.get(id).config.shape);
const benches = [await decoder(cache), await encoder(cache)];
for (const bench of benches) if (typeof bench === "string") console.log(bench);
const usable = benches.filter((b): b is Bench => typeof b !== "string");
const rows: RateTable["rows"][number][] = [];
for (const method of methods)
  for (const bench of usable) {
    try {
      rows.push(rowOf(method, bench));
    } catch (error) {
      console.error(error instanceof Error ? error.message : String(error));
      process.exitCode = 1;
    }
  }
const defaults = Object.fromEntries(methods.map((id) => [id, registry.get(id).config.shape.lr?.safeParse(undefined).data as unknown]));
writeTable(join(root, "docs/results"), { benches: usable.map(({ flags: _, ...said }) => said), rows }, defaults);
console.log(readFileSync(join(root, "docs/results/rates.md"), "utf8"));
