import type { AnyMethod, Paradigm, Registry } from "@lfm/core";
import { inputsOf, takes } from "@lfm/core/method-inputs";
import { usageOf } from "./inputs/kinds.js";

/** Loads the methods of one paradigm: only its package is imported. */
export const loadMethods: Readonly<Record<Paradigm, () => Promise<readonly AnyMethod[]>>> = {
  tuning: async () => (await import("@lfm/tuning")).tuningMethods,
  distillation: async () => (await import("@lfm/distillation")).distillationMethods,
  reuse: async () => (await import("@lfm/reuse")).reuseMethods,
  meta: async () => (await import("@lfm/meta")).metaMethods,
  editing: async () => {
    const { editingMethods, editorTrainings } = await import("@lfm/editing");
    return [...editingMethods, ...editorTrainings];
  },
  retrieval: async () => (await import("@lfm/retrieval")).retrievalMethods,
  probe: async () => (await import("@lfm/probe")).probeMethods,
};

/** Every method of the platform. */
export async function loadRegistry(): Promise<Registry> {
  const { createRegistry } = await import("@lfm/core");
  return createRegistry((await Promise.all(Object.values(loadMethods).map((load) => load()))).flat());
}

/** A method by its whole name, `paradigm/id`. @throws {LfmError} CONFIG_INVALID with the nearest one */
export async function loadMethod(name: string): Promise<AnyMethod> {
  const { createRegistry } = await import("@lfm/core");
  const [paradigm] = name.split("/");
  const load = Object.entries(loadMethods).find(([own]) => own === paradigm)?.[1];
  return load ? createRegistry(await load()).get(name) : (await loadRegistry()).get(name);
}

/** The verb that runs the methods of a paradigm. */
export const verbs = {
  tuning: "tune",
  distillation: "distill",
  reuse: "merge",
  meta: "meta",
  editing: "edit",
  retrieval: "retrieve",
  probe: "probe",
} as const satisfies Record<Paradigm, string>;

/** What is typed to run a method. Models that answer together leave nothing to save: they are measured. */
export function callOf(method: AnyMethod): string {
  const inputs = inputsOf(method);
  const start = takes(method, "members") ? "eval" : `${verbs[method.paradigm]} ${method.id}`;
  return `lfm ${start} ${usageOf(inputs)}`.trim();
}
