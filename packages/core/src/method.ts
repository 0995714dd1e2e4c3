import { z } from "zod";
import type { DeltaForm } from "./delta.js";
import type { HostTensor } from "./dtype.js";
import type { Engine } from "./engines/engine.js";
import { LfmError, nearestName } from "./errors.js";
import type { InputDeclarations } from "./method-inputs.js";
import type { Rng } from "./rng.js";

export const paradigms = ["tuning", "distillation", "reuse", "meta", "editing", "retrieval", "probe"] as const;
export type Paradigm = (typeof paradigms)[number];

/** What a method asks of the models it is given. */
export const needs = ["weights", "grad", "activations", "logits", "labels", "tokenizer"] as const;
export type Need = (typeof needs)[number];

export interface Paper {
  readonly title: string;
  readonly arxiv?: string;
  readonly url?: string;
  readonly year: number;
  /** Section of the survey arXiv 2310.08184 that the method belongs to. */
  readonly survey?: string;
}

export interface Progress {
  readonly phase: string;
  readonly done: number;
  readonly total: number;
  readonly unit: string;
  /** Values worth watching, e.g. `{ loss: 0.31 }`. */
  readonly values?: Readonly<Record<string, number>>;
}

/** A state of long training that a later process can go on from. */
export interface CheckpointState {
  /** Steps done. */
  readonly step: number;
  /** Everything that changes from step to step, by path. */
  readonly tensors: Readonly<Record<string, HostTensor>>;
}

/** Where one phase of long training saves itself. Saving replaces the state before; it must be atomic. */
export interface Checkpoint {
  load(): Promise<CheckpointState | undefined>;
  save(state: CheckpointState): Promise<void>;
}

/** What the platform hands to every method. Libraries never print: they log and report progress here. */
export interface MethodContext {
  readonly engine: Engine;
  readonly rng: Rng;
  /** What the caller lets the method see; `runMethod` refuses before any work when a need is missing. */
  readonly access: readonly Need[];
  readonly signal?: AbortSignal;
  /** Where long training saves itself, by phase. Absent: nothing is saved. */
  readonly checkpoint?: (phase: string) => Checkpoint;
  log(message: string): void;
  progress(progress: Progress): void;
}

/** Named partial configs of one algorithm, e.g. `dare-ties` of ties. */
export type Presets<C> = Readonly<Record<string, { readonly summary: string; readonly config: Partial<C> }>>;

export interface Method<Inputs = never, Output = unknown, Schema extends z.ZodObject = z.ZodObject> {
  /** kebab-case, unique within the paradigm. */
  readonly id: string;
  readonly paradigm: Paradigm;
  /** One sentence: what it does. */
  readonly summary: string;
  readonly paper: Paper;
  readonly needs: readonly Need[];
  /** What `run` is given, by kind: whoever provides the kinds can run the method. */
  readonly inputs: InputDeclarations<NoInfer<Inputs>, z.output<Schema>>;
  /** z.strictObject; every field described with unit and symbol; defaults stand only here. */
  readonly config: Schema;
  readonly presets?: Presets<z.output<Schema>>;
  /** What a delta of this method is; for methods that learn deltas. */
  readonly delta?: DeltaForm<z.output<Schema>>;
  /** Pure of global state. Stops with ABORTED within one step of the signal. */
  run(inputs: Inputs, config: z.output<Schema>, context: MethodContext): Promise<Output>;
}

/** Any method, for lists that only read metadata. */
// biome-ignore lint/suspicious/noExplicitAny: a heterogeneous list has no common input type
export type AnyMethod = Method<any, any, z.ZodObject>;

/** Freezes and checks the description of a method. @throws {LfmError} CONFIG_INVALID */
export function defineMethod<Inputs, Output, Schema extends z.ZodObject>(
  method: Method<Inputs, Output, Schema>,
): Method<Inputs, Output, Schema> {
  if (!/^[a-z0-9]+(-[a-z0-9]+)*$/.test(method.id)) {
    throw new LfmError("CONFIG_INVALID", `[@lfm/core] "${method.id}" is no method id: use kebab-case`);
  }
  return Object.freeze(method);
}

/** Parses options against the method's schema, presets applied first. @throws {LfmError} CONFIG_INVALID naming the unknown key and the nearest one. */
export function parseConfig<S extends z.ZodObject>(
  method: Pick<Method<unknown, unknown, S>, "id" | "config" | "presets">,
  raw: unknown,
  preset?: string,
): z.output<S> {
  let base: Record<string, unknown> = {};
  if (preset !== undefined) {
    const found = method.presets?.[preset];
    if (!found) {
      const near = nearestName(preset, Object.keys(method.presets ?? {}));
      throw new LfmError("CONFIG_INVALID", `${method.id}: no preset "${preset}"`, {
        hint: near ? `did you mean "${near}"?` : `it has: ${Object.keys(method.presets ?? {}).join(", ") || "none"}`,
      });
    }
    base = found.config;
  }
  const parsed = method.config.safeParse({ ...base, ...(raw as object | undefined) });
  if (parsed.success) return parsed.data as z.output<S>;
  const known = Object.keys(method.config.shape);
  const unknown = parsed.error.issues.flatMap((i) => (i.code === "unrecognized_keys" ? i.keys : []));
  const hints = unknown.map((k) => nearestName(k, known)).filter((k) => k !== undefined);
  throw new LfmError("CONFIG_INVALID", `${method.id}: ${z.prettifyError(parsed.error)}`, {
    hint: hints.length > 0 ? `did you mean ${hints.map((h) => `"${h}"`).join(", ")}?` : `options: ${known.join(", ")}`,
    details: { method: method.id, issues: parsed.error.issues },
  });
}

/** Checks access and options, then runs. @throws {LfmError} CAPABILITY_MISSING, CONFIG_INVALID, and what the method throws */
export async function runMethod<I, O, S extends z.ZodObject>(
  method: Method<I, O, S>,
  inputs: I,
  rawConfig: z.input<S>,
  context: MethodContext,
  preset?: string,
): Promise<O> {
  const missing = method.needs.filter((n) => !context.access.includes(n));
  if (missing.length > 0) {
    throw new LfmError("CAPABILITY_MISSING", `${method.id} needs ${missing.join(" and ")} of the model, which is not given here`, {
      details: { needs: method.needs, access: context.access },
      hint: "choose a method whose `needs` fit the access: lfm methods ls",
    });
  }
  return method.run(inputs, parseConfig(method, rawConfig, preset), context);
}

export interface Registry {
  readonly methods: readonly AnyMethod[];
  /** @throws {LfmError} CONFIG_INVALID with the nearest id */
  get(id: string, paradigm?: Paradigm): AnyMethod;
}

/** A lookup over method arrays: `createRegistry([...builtin, mine])`. @throws {LfmError} CONFIG_INVALID for a duplicate id */
export function createRegistry(methods: readonly AnyMethod[]): Registry {
  const byKey = new Map<string, AnyMethod>();
  for (const m of methods) {
    const key = `${m.paradigm}/${m.id}`;
    if (byKey.has(key)) throw new LfmError("CONFIG_INVALID", `two methods are called ${key}`);
    byKey.set(key, m);
  }
  return {
    methods: Object.freeze([...methods]),
    get(id, paradigm) {
      const found = paradigm ? byKey.get(`${paradigm}/${id}`) : methods.find((m) => m.id === id || `${m.paradigm}/${m.id}` === id);
      if (found) return found;
      const near = nearestName(
        id,
        methods.filter((m) => !paradigm || m.paradigm === paradigm).map((m) => m.id),
      );
      throw new LfmError("CONFIG_INVALID", `no method "${id}"${paradigm ? ` in ${paradigm}` : ""}`, {
        hint: near ? `did you mean "${near}"?` : "see them all: lfm methods ls",
      });
    },
  };
}
