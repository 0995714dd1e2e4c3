import { type CellOutcome, ortEngine, type Paradigm, parseConfig, Rng } from "@lfm/core";
import { methods, scenarios } from "../src/builtin.js";
import { readSuite } from "../src/suite.js";

/** Runs cells of a suite, with its options, for some seeds: method (or its preset) → one outcome per seed. */
export async function suiteCells(
  suite: string,
  paradigm: Paradigm,
  scenarioId: string,
  seeds: readonly number[],
): Promise<Readonly<Record<string, readonly CellOutcome[]>>> {
  const engine = await ortEngine();
  const made = new Map<string, Promise<unknown>>();
  const shared = <T>(key: string, make: () => Promise<T>): Promise<T> => {
    if (!made.has(key)) made.set(key, make());
    return made.get(key) as Promise<T>;
  };
  const scenario = scenarios.find((s) => s.paradigm === paradigm && s.id === scenarioId)!;
  const found: Record<string, CellOutcome[]> = {};
  for (const cell of readSuite(suite).cells.filter((c) => c.paradigm === paradigm && c.scenario === scenarioId)) {
    const method = methods.find((m) => m.paradigm === paradigm && m.id === cell.method)!;
    const config = parseConfig(method, cell.config ?? {}, cell.preset);
    const outcomes: CellOutcome[] = [];
    for (const seed of seeds) {
      outcomes.push(
        await scenario.run(
          { method, config },
          {
            engine,
            rng: new Rng(seed),
            seed,
            access: scenario.access,
            shared,
            folders: { data: process.env.LFM_DATA, models: process.env.LFM_MODELS },
            log: () => {},
            progress: () => {},
          },
        ),
      );
    }
    found[cell.preset ?? cell.method] = outcomes;
  }
  return found;
}

/** Mean of a metric over outcomes. */
export function meanOf(outcomes: readonly CellOutcome[] | undefined, metric: string): number {
  const values = (outcomes ?? []).map((o) => o.metrics[metric]?.value ?? Number.NaN);
  return values.reduce((a, b) => a + b, 0) / values.length;
}
