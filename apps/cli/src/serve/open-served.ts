import { existsSync } from "node:fs";
import { basename, resolve } from "node:path";
import { type Delta, type Engine, LfmError, withDeltas } from "@lfm/core";
import { createBatchGenerator, createEncoder } from "@lfm/models";
import { isPoolable, loraPool } from "@lfm/tuning";
import { loadEach, type NamedModel, requireText, resolveModel, splitDeltas } from "../inputs/models.js";
import type { BaseWish } from "../inputs/quantized.js";
import type { JobContext } from "../program/job.js";
import type { Served, ServedLanguageModel } from "./served.js";

export interface WhatToServe {
  /** `MODEL`, `MODEL+DELTA` or `NAME=MODEL`. */
  readonly models: readonly string[];
  /** `DELTA` or `NAME=DELTA`, on the one language model. */
  readonly adapters: readonly string[];
  /** Sequences that are decoded together. */
  readonly slots: number;
  /** How frozen weights are held; default as they lie in their files. */
  readonly base?: BaseWish | undefined;
}

/**
 * Opens what is served, each under a name of its own. LoRAs share the session and the batch of their model; an adapter that is more than that has a
 * session of its own, and answers in a batch of its own.
 * @throws {LfmError} CONFIG_INVALID for two of one name, and adapters without one language model; CAPABILITY_MISSING for a model that neither
 *   continues text nor embeds it; as {@link resolveModel}
 */
export async function openServed(
  { models, adapters, slots, base: wish }: WhatToServe,
  engine: Engine,
  job: JobContext,
): Promise<readonly Served[]> {
  const opened: { readonly id: string; readonly m: NamedModel }[] = [];
  for (const given of models) {
    const { name, place } = named(given);
    const { base, deltas } = splitDeltas(place);
    opened.push({ id: name ?? nameOf(base, deltas), m: await resolveModel(base, deltas, job, wish) });
  }
  const language = opened.filter(({ m }) => ["causal-lm", "seq2seq-lm"].includes(m.model.info.task));
  if (adapters.length > 0 && language.length !== 1)
    throw new LfmError("CONFIG_INVALID", `lfm: adapters stand on one language model; there are ${language.length}`, {
      hint: "give one --model that continues text, or MODEL+DELTA for each",
    });
  const served: Served[] = [];
  for (const { id, m } of opened)
    served.push(
      ...(language.some((l) => l.m === m) ? await openLanguageModel(id, m, adapters, slots, engine) : [await openEncoder(id, m, engine)]),
    );
  for (const [i, { id }] of served.entries())
    if (served.findIndex((s) => s.id === id) !== i)
      throw new LfmError("CONFIG_INVALID", `lfm: two models are called "${id}"`, { hint: "give one of them a name: NAME=FOLDER" });
  return served;
}

async function openLanguageModel(
  id: string,
  m: NamedModel,
  adapters: readonly string[],
  slots: number,
  engine: Engine,
): Promise<ServedLanguageModel[]> {
  const text = requireText(m);
  const loaded: { readonly name: string; readonly delta: Delta }[] = [];
  for (const given of adapters) {
    const { name, place } = named(given);
    const [delta] = await loadEach([place], { ...m, hash: async () => m.hash });
    loaded.push({ name: name ?? basename(resolve(place)), delta: delta! });
  }
  const pooled = loaded.filter(({ delta }) => isPoolable(delta, m.model));
  const pool = pooled.length > 0 ? loraPool(m.model, Object.fromEntries(pooled.map(({ name, delta }) => [name, delta]))) : undefined;
  const generator = await createBatchGenerator(engine, pool?.model ?? m.model, { slots, ...(pool ? { adapters: pool } : {}) });
  const served: ServedLanguageModel[] = [{ kind: "language", id, generator, text }];
  for (const { name, delta } of loaded) {
    const own = pooled.some((p) => p.name === name)
      ? { generator, adapter: name }
      : { generator: await createBatchGenerator(engine, withDeltas(m.model, [delta]), { slots }) };
    served.push({ kind: "language", id: name, parent: id, text, ...own });
  }
  return served;
}

async function openEncoder(id: string, m: NamedModel, engine: Engine): Promise<Served> {
  if (m.model.info.task !== "encoder" || m.model.info.input !== "tokens")
    throw new LfmError("CAPABILITY_MISSING", `lfm: ${m.name} neither continues text nor embeds it: it is a ${m.model.info.task}`);
  const { tokenizer } = requireText(m);
  const { similarity: _, ...options } = m.sentence ?? {};
  return { kind: "encoder", id, tokenizer, encoder: await createEncoder(engine, m.model, tokenizer, options) };
}

/** `NAME=PLACE` taken apart. A folder that has such a name stays whole. */
function named(given: string): { readonly name?: string; readonly place: string } {
  const at = existsSync(given) ? -1 : given.indexOf("=");
  if (at < 0) return { place: given };
  if (at === 0 || at === given.length - 1) throw new LfmError("CONFIG_INVALID", `lfm: "${given}" is no NAME=FOLDER`);
  return { name: given.slice(0, at), place: given.slice(at + 1) };
}

/** A folder by its own name, a model of the hub by its whole one. */
function nameOf(base: string, deltas: readonly string[]): string {
  return [existsSync(base) ? basename(resolve(base)) : base, ...deltas.map((d) => basename(resolve(d)))].join("+");
}
