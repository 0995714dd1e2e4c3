import { type AnyMethod, LfmError, nearestName, type Paradigm } from "@lfm/core";
import { importEntry } from "@lfm/core/worker";
import type { Scenario } from "./scenario.js";

/** What cells are made of: the methods that can be put to the test, and the tests. */
export interface Catalog {
  readonly methods: readonly AnyMethod[];
  readonly scenarios: readonly Scenario[];
}

/**
 * Loads the catalog of lfm, or a module of yours that exports `methods` and `scenarios`.
 * The worker that runs the cells loads it again under the same name: it must have no effects.
 * @throws {LfmError} CONFIG_INVALID when the module lacks one of the two arrays
 */
export async function loadCatalog(entry?: string): Promise<Catalog> {
  const module: Partial<Catalog> = entry === undefined ? await import("./builtin.js") : await importEntry(entry);
  if (Array.isArray(module.methods) && Array.isArray(module.scenarios)) return module as Catalog;
  throw new LfmError("CONFIG_INVALID", `[@lfm/bench] ${entry ?? "builtin"} is no catalog: it must export the arrays methods and scenarios`);
}

/** @throws {LfmError} CONFIG_INVALID with the nearest id */
export function findScenario(catalog: Catalog, id: string, paradigm: Paradigm): Scenario {
  const own = catalog.scenarios.filter((s) => s.paradigm === paradigm);
  const found = own.find((s) => s.id === id);
  if (found) return found;
  const ids = own.map((s) => s.id);
  const near = nearestName(id, ids);
  throw new LfmError("CONFIG_INVALID", `[@lfm/bench] no scenario "${id}" in ${paradigm}`, {
    hint: near ? `did you mean "${near}"?` : `it has: ${ids.join(", ") || "none"}`,
  });
}

/** @throws {LfmError} CONFIG_INVALID with the nearest id */
export function findMethod(catalog: Catalog, id: string, paradigm: Paradigm): AnyMethod {
  const own = catalog.methods.filter((m) => m.paradigm === paradigm);
  const found = own.find((m) => m.id === id);
  if (found) return found;
  const near = nearestName(
    id,
    own.map((m) => m.id),
  );
  throw new LfmError("CONFIG_INVALID", `[@lfm/bench] no method "${id}" in ${paradigm}`, {
    hint: near ? `did you mean "${near}"?` : `it has: ${own.map((m) => m.id).join(", ") || "none"}`,
  });
}
