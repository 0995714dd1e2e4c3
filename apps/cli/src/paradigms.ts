import { type AnyMethod, createRegistry, type Paradigm, type Registry } from "@lfm/core";

/** Loads the methods of one paradigm: only its package is imported. */
export const loadMethods: Readonly<Record<Paradigm, () => Promise<readonly AnyMethod[]>>> = {
  tuning: async () => (await import("@lfm/tuning")).tuningMethods,
  distillation: async () => (await import("@lfm/distillation")).distillationMethods,
  reuse: async () => (await import("@lfm/reuse")).reuseMethods,
  meta: async () => (await import("@lfm/meta")).metaMethods,
  editing: async () => (await import("@lfm/editing")).editingMethods,
  retrieval: async () => (await import("@lfm/retrieval")).retrievalMethods,
};

/** Every method of the platform. */
export async function loadRegistry(): Promise<Registry> {
  return createRegistry((await Promise.all(Object.values(loadMethods).map((load) => load()))).flat());
}
