import {
  type Checkpoint,
  type CheckpointState,
  type Delta,
  type DeltaMethod,
  firstNonFinite,
  type HostTensor,
  hostTensor,
  isLfmError,
  joinDeltas,
  LfmError,
  type MethodContext,
  makeDelta,
  type Progress,
  throwIfAborted,
  withDeltas,
} from "@lfm/core";
import { type EditingInputs, type EditingOutput, type EditRequest, requireRequests } from "./inputs.js";

/**
 * A method made ready for one model. What does not depend on the fact — compiled steps, the factor of the keys' second moments — is made by the
 * first edit that needs it and kept: for a small model it takes longer than the edit.
 */
export interface Editor {
  /**
   * @param requests facts to write; @param previous earlier edits, which lie below
   * @throws {LfmError} CONFIG_INVALID, ABORTED, and what the method throws
   */
  edit(requests: readonly EditRequest[], previous?: readonly Delta[]): Promise<EditingOutput>;
  dispose(): Promise<void>;
}

type Curves = EditingOutput["curves"];

/** What stands after so many facts. */
interface Written {
  readonly facts: number;
  /** All of them in one; absent before the first. */
  readonly delta: Delta | undefined;
  readonly curves: Curves;
}

interface InTurn<C> {
  readonly method: DeltaMethod<C>;
  readonly config: C & Readonly<Record<string, unknown>>;
  /** Facts that are written at once. */
  readonly size: number;
  /** What edits are made with while progress is told by facts: its own steps are not told. */
  prepare(context: MethodContext): Editor;
}

/** Saving takes one part of so many of the time. */
const SAVING = 50;

/**
 * Writes facts in turn, so many at a time, each into the model with those before it; all of them come out as one delta. Where there is a
 * checkpoint it saves itself on the way and when it is stopped, and goes on from there to the same delta: an edit depends on the facts before
 * it and on nothing else.
 * @throws {LfmError} CAPABILITY_MISSING for a method whose deltas cannot be joined; NUMERIC_DIVERGED and what the method throws, naming the
 *   fact; CONFIG_INVALID, ABORTED
 */
export async function editInTurn<C>(
  { method, config, size, prepare }: InTurn<C>,
  inputs: Pick<EditingInputs, "model" | "requests" | "previous" | "parent">,
  context: MethodContext,
): Promise<EditingOutput> {
  const { model, requests, previous = [], parent = null } = inputs;
  const name = `${method.paradigm}/${method.id}`;
  requireRequests(requests);
  if (!Number.isInteger(size) || size < 1)
    throw new LfmError("CONFIG_INVALID", `[@lfm/editing] ${size} facts at a time: 1 or more are written`);
  if (!method.delta?.join)
    throw new LfmError("CAPABILITY_MISSING", `[@lfm/editing] deltas of ${name} do not become one: its facts are written at once`, {
      hint: `batch: ${requests.length}, or an edit for each fact`,
    });
  const store = context.checkpoint?.(name);
  let written = (await restored(store, method, config, parent, requests.length)) ?? { facts: 0, delta: undefined, curves: {} };
  let values: Progress["values"];
  const editor = prepare({
    ...context,
    progress: (p) => {
      if (p.unit === "step") values = p.values;
      else context.progress(p);
    },
  });
  let [savedAt, cost] = [Number.NEGATIVE_INFINITY, 0];
  const save = async (): Promise<void> => {
    if (!store || !written.delta) return;
    const began = performance.now();
    await store.save(stateOf(written, written.delta));
    savedAt = performance.now();
    cost = savedAt - began;
  };
  try {
    while (written.facts < requests.length) {
      const { facts, delta: before, curves } = written;
      throwIfAborted(context.signal, `[@lfm/editing] ${name} fact ${facts}`);
      const batch = requests.slice(facts, facts + size);
      const made = await editor.edit(batch, before ? [...previous, before] : previous);
      requireFinite(made.delta);
      const [delta] = joinDeltas(before ? [before, made.delta] : [made.delta]);
      written = { facts: facts + batch.length, delta, curves: { ...curves, ...numbered(made.curves, Math.floor(facts / size) + 1) } };
      context.progress({ phase: name, done: written.facts, total: requests.length, unit: "fact", ...(values ? { values } : {}) });
      if (written.facts < requests.length && performance.now() - savedAt > SAVING * cost) await save();
      // An engine may keep its thread for a whole edit: let messages (stop, progress) through between two.
      await new Promise<void>((resolve) => setImmediate(resolve));
    }
    const delta = written.delta!;
    return { delta, model: withDeltas(model, joinDeltas([...previous, delta])), curves: written.curves };
  } catch (error) {
    if (isLfmError(error, "ABORTED")) await save();
    throw atFact(error, written.facts, Math.min(size, requests.length - written.facts), requests.length);
  } finally {
    await editor.dispose();
  }
}

/** @throws {LfmError} NUMERIC_DIVERGED */
function requireFinite({ tensors, method }: Delta): void {
  const broken = firstNonFinite(tensors);
  if (broken === undefined) return;
  throw new LfmError("NUMERIC_DIVERGED", `[@lfm/editing] ${method}: "${broken}" is not finite`, { hint: "lower lr" });
}

/** The same error, saying which of the facts it is about. */
function atFact(error: unknown, before: number, count: number, all: number): unknown {
  if (!isLfmError(error) || error.code === "ABORTED") return error;
  const which = count === 1 ? `fact ${before + 1}` : `facts ${before + 1} to ${before + count}`;
  return new LfmError(error.code, `${error.message} (${which} of ${all})`, {
    details: { ...error.details, fact: before },
    cause: error,
    ...(error.hint === undefined ? {} : { hint: error.hint }),
  });
}

function numbered(curves: Curves, turn: number): Curves {
  return Object.fromEntries(Object.entries(curves).map(([name, points]) => [`${name}.${turn}`, points]));
}

const DELTA = "delta/";
const CURVES = "curves/";

function stateOf({ facts, curves }: Written, delta: Delta): CheckpointState {
  const points = Object.entries(curves).map(([name, all]) => [
    CURVES + name,
    hostTensor("f64", [all.length, 2], Float64Array.from(all.flat())),
  ]);
  return { step: facts, tensors: { ...under(DELTA, delta.tensors), ...Object.fromEntries(points) } };
}

/** @throws {LfmError} CONFIG_INVALID where more facts are written than are asked for */
async function restored<C>(
  store: Checkpoint | undefined,
  method: DeltaMethod<C>,
  config: C & Readonly<Record<string, unknown>>,
  parent: string | null,
  most: number,
): Promise<Written | undefined> {
  const state = await store?.load();
  if (!state) return undefined;
  if (state.step > most)
    throw new LfmError("CONFIG_INVALID", `[@lfm/editing] ${state.step} facts are written already, and ${most} are asked for`, {
      hint: "start over: --fresh",
    });
  const delta = makeDelta(method, config, below(DELTA, state.tensors), { parent });
  const curves = Object.entries(below(CURVES, state.tensors)).map(([name, { data, shape }]) => {
    const flat = Array.from(data, Number);
    return [name, Array.from({ length: shape[0] ?? 0 }, (_, i) => [flat[2 * i]!, flat[2 * i + 1]!] as const)] as const;
  });
  return { facts: state.step, delta, curves: Object.fromEntries(curves) };
}

function under(prefix: string, tensors: Readonly<Record<string, HostTensor>>): Record<string, HostTensor> {
  return Object.fromEntries(Object.entries(tensors).map(([name, t]) => [prefix + name, t]));
}

function below(prefix: string, tensors: Readonly<Record<string, HostTensor>>): Record<string, HostTensor> {
  return Object.fromEntries(
    Object.entries(tensors).flatMap(([name, t]) => (name.startsWith(prefix) ? [[name.slice(prefix.length), t]] : [])),
  );
}
