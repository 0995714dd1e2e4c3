import { type AnyMethod, LfmError, type Paradigm, parseConfig } from "@lfm/core";
import { z } from "zod";
import { type Catalog, findMethod, findScenario, loadCatalog } from "./catalog.js";
import { contentHash } from "./content-hash.js";
import { collectVersions } from "./provenance.js";
import type { Scenario } from "./scenario.js";
import { readSuite, type Suite } from "./suite.js";

/** A cell before it runs. Plain data: it travels to the worker as it is. */
export interface PlannedCell {
  /** Content hash over scenario, method, resolved config, seed, engine and versions; the name of its result file. */
  readonly hash: string;
  readonly paradigm: Paradigm;
  readonly scenario: string;
  readonly model: string;
  readonly method: string;
  readonly variant?: string;
  readonly headline: string;
  readonly seed: number;
  /** All options, defaults filled in. */
  readonly config: Readonly<Record<string, unknown>>;
  /** Options of the scenario, defaults filled in. */
  readonly options: Readonly<Record<string, unknown>>;
  readonly access: Scenario["access"];
  readonly requires: readonly ("data" | "models")[];
}

interface PlannedTask {
  readonly paradigm: Paradigm;
  readonly id: string;
  readonly model: string;
  readonly summary: string;
  readonly headline: string;
}

interface PlannedMethod {
  readonly paradigm: Paradigm;
  readonly id: string;
  readonly summary: string;
  readonly paper: AnyMethod["paper"];
}

/** What a run will do. */
export interface Plan {
  readonly suite: string;
  readonly summary: string;
  readonly engine: string;
  readonly seeds: readonly number[];
  readonly versions: Readonly<Record<string, string>>;
  readonly cells: readonly PlannedCell[];
  readonly tasks: readonly PlannedTask[];
  readonly methods: readonly PlannedMethod[];
}

export interface PlanOptions {
  /** Name of a suite (`quick`), path of a YAML file, or a suite. */
  readonly suite: string | Suite;
  /** Seeds instead of the suite's. */
  readonly seeds?: readonly number[];
  /** auto, ort, tfjs or reference. Default auto. */
  readonly engine?: string;
  /** Only cells whose `paradigm/scenario/method/variant` contains this. */
  readonly only?: string;
  /** At most this many cells. */
  readonly limit?: number;
  /** Module that exports `methods` and `scenarios`, as URL. Default: those of lfm. */
  readonly catalog?: string;
}

/**
 * Turns a suite into cells, seed by seed, in the order of the file.
 * Every option is checked here: a suite with a typo fails before any work.
 * @throws {LfmError} CONFIG_INVALID naming the cell
 */
export async function planSuite(options: PlanOptions): Promise<Plan> {
  const suite = typeof options.suite === "string" ? readSuite(options.suite) : options.suite;
  return planCells(suite, await loadCatalog(options.catalog), collectVersions(), options);
}

/** The pure part of {@link planSuite}. */
export function planCells(
  suite: Suite,
  catalog: Catalog,
  versions: Readonly<Record<string, string>>,
  options: Omit<PlanOptions, "suite" | "catalog"> = {},
): Plan {
  const engine = options.engine ?? "auto";
  const seeds = options.seeds ?? suite.seeds;
  const tasks = new Map<string, PlannedTask>();
  const methods = new Map<string, PlannedMethod>();
  const cells: PlannedCell[] = [];
  const seen = new Set<string>();
  const entries = withEveryMethod(suite.cells, catalog);
  const optionsOf = scenarioOptions(suite, catalog);
  for (const seed of seeds) {
    for (const entry of entries) {
      const scenario = findScenario(catalog, entry.scenario, entry.paradigm);
      const own = optionsOf.get(scenario)!;
      const method = findMethod(catalog, entry.method, entry.paradigm);
      const config = resolveConfig(method, entry, suite.name);
      const variant = entry.label ?? entry.preset;
      const name = cellName({ paradigm: entry.paradigm, scenario: scenario.id, method: method.id, ...(variant ? { variant } : {}) });
      if (seen.has(`${name} ${seed}`)) {
        throw new LfmError("CONFIG_INVALID", `[@lfm/bench] suite ${suite.name} holds ${name} twice`, {
          hint: seeds.filter((s) => s === seed).length > 1 ? `seed ${seed} is given twice` : "give one of them a label",
        });
      }
      seen.add(`${name} ${seed}`);
      if (options.only !== undefined && !name.includes(options.only)) continue;
      if (cells.length >= (options.limit ?? Number.POSITIVE_INFINITY)) continue;
      const identity = { paradigm: entry.paradigm, scenario: scenario.id, model: scenario.model, method: method.id, seed, config };
      cells.push({
        ...identity,
        hash: contentHash({
          ...identity,
          ...(scenario.options ? { options: own } : {}),
          variant,
          access: scenario.access,
          engine,
          versions,
        }),
        ...(variant ? { variant } : {}),
        headline: scenario.headline,
        options: own,
        access: scenario.access,
        requires: scenario.requires ?? [],
      });
      const { id, paradigm, model, summary, headline } = scenario;
      tasks.set(`${paradigm}/${id}`, { paradigm, id, model, summary, headline });
      methods.set(`${paradigm}/${method.id}`, { paradigm, id: method.id, summary: method.summary, paper: method.paper });
    }
  }
  return {
    suite: suite.name,
    summary: suite.summary,
    engine,
    seeds,
    versions,
    cells,
    tasks: [...tasks.values()],
    methods: [...methods.values()],
  };
}

/** `paradigm/scenario/method/variant`: what `only` looks into and progress shows. */
export function cellName(cell: Pick<PlannedCell, "paradigm" | "scenario" | "method" | "variant">): string {
  return `${cell.paradigm}/${cell.scenario}/${cell.method}${cell.variant ? `/${cell.variant}` : ""}`;
}

/** Lines for every method: those of the paradigm in the order of the catalog, without those that have a line of their own for the scenario. */
function withEveryMethod(cells: Suite["cells"], catalog: Catalog): Suite["cells"] {
  return cells.flatMap((cell) => {
    if (cell.method !== "*") return [cell];
    const named = new Set(cells.filter((c) => c.paradigm === cell.paradigm && c.scenario === cell.scenario).map((c) => c.method));
    const { preset, ...line } = cell;
    return catalog.methods
      .filter((m) => m.paradigm === cell.paradigm && !named.has(m.id))
      .map((m) => ({ ...line, method: m.id, ...(preset !== undefined && m.presets?.[preset] ? { preset } : {}) }));
  });
}

/** Options by scenario, of all that the suite's lines name. @throws {LfmError} CONFIG_INVALID naming suite, scenario and option */
function scenarioOptions(suite: Suite, catalog: Catalog): ReadonlyMap<Scenario, PlannedCell["options"]> {
  const scenarios = new Set(suite.cells.map((c) => findScenario(catalog, c.scenario, c.paradigm)));
  const left = new Map(Object.entries(suite.options ?? {}));
  const parsed = [...scenarios].map((scenario) => {
    const key = `${scenario.paradigm}/${scenario.id}`;
    const given = left.get(key);
    left.delete(key);
    const schema = scenario.options ?? z.strictObject({});
    const found = schema.safeParse(given ?? {});
    if (found.success) return [scenario, found.data] as const;
    throw new LfmError("CONFIG_INVALID", `[@lfm/bench] suite ${suite.name}, options of ${key}: ${z.prettifyError(found.error)}`);
  });
  const [lost] = left.keys();
  if (lost !== undefined)
    throw new LfmError("CONFIG_INVALID", `[@lfm/bench] suite ${suite.name} has options for ${lost}, and no cell of it`, {
      hint: `its scenarios: ${[...scenarios].map((s) => `${s.paradigm}/${s.id}`).join(", ")}`,
    });
  return new Map(parsed);
}

function resolveConfig(method: AnyMethod, entry: Suite["cells"][number], suite: string): Record<string, unknown> {
  try {
    return parseConfig(method, entry.config ?? {}, entry.preset);
  } catch (error) {
    if (!(error instanceof LfmError)) throw error;
    throw new LfmError(error.code, `[@lfm/bench] suite ${suite}, scenario ${entry.scenario}: ${error.message}`, {
      details: error.details,
      ...(error.hint ? { hint: error.hint } : {}),
    });
  }
}
