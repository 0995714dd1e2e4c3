import {
  type Checkpoint,
  constantSchedule,
  firstNonFinite,
  type HostTensor,
  LfmError,
  type Progress,
  type Rng,
  type Schedule,
  throwIfAborted,
} from "@lfm/core";
import { restoreCheckpoint, saveCheckpoint } from "./checkpoint.js";
import {
  type Batch,
  type BestState,
  type Curves,
  compileTraining,
  type FitState,
  initialState,
  type TrainingSpec,
  type TrainingState,
} from "./training.js";

const SAVE_EVERY_MS = 60_000;

/** Measuring while training, on data that is not trained on. */
export interface Validation {
  /** Updates between two measurements; the end is measured too. */
  readonly every: number;
  /** The values of a state, by name; the state may be read until the promise settles. */
  measure(state: TrainingState): Promise<Readonly<Record<string, number>>>;
  /** The value that says which state is best. */
  readonly metric: string;
  readonly better: "lower" | "higher";
  /** Stop after so many measurements without a better one. Default: never. */
  readonly patience?: number;
}

/** Something to be seen on the way that chooses nothing. */
export interface Watch {
  /** Updates between two looks; the end is looked at too. */
  readonly every: number;
  /** @param step updates done; @param state may be read until the promise settles. @returns values for the curves, under `kept.` */
  look(step: number, state: TrainingState): Promise<Readonly<Record<string, number>>>;
}

export interface FitOptions extends Omit<TrainingSpec, "accumulates"> {
  /**
   * The micro-batch of a number, from 0; a step takes `accumulate` of them. `state` is the one before that step, for batches that what learns has
   * a part in (on-policy data); it may be read until the promise settles.
   */
  readonly batches: (number: number, state: TrainingState) => Batch | Promise<Batch>;
  /** Micro-batches whose gradients make one update. Default 1. */
  readonly accumulate?: number;
  /** Peak learning rate. */
  readonly lr: number;
  readonly schedule?: Schedule;
  /** Updates. */
  readonly steps: number;
  readonly rng: Rng;
  readonly signal?: AbortSignal;
  readonly progress?: (p: Progress) => void;
  readonly phase?: string;
  /** Measured on the way; the best state, not the last, is what is handed back. */
  readonly validation?: Validation;
  readonly watch?: Watch;
  /** Called after each step with its values; may stop early by returning "stop". */
  readonly onStep?: (
    step: number,
    values: Readonly<Record<string, number>>,
    snapshot: () => FitState,
  ) => undefined | "stop" | Promise<undefined | "stop">;
  /** Continue from a state saved by `onStep`'s snapshot. */
  readonly resume?: FitState;
  /** Saves itself here once a minute and when it is stopped on request, and goes on from what is saved. */
  readonly checkpoint?: Checkpoint;
}

export interface FitResult {
  readonly params: Readonly<Record<string, HostTensor>>;
  readonly buffers: Readonly<Record<string, HostTensor>>;
  /** Updates done. */
  readonly steps: number;
  /** The measurement that the parameters are of, where there was one. */
  readonly best?: { readonly step: number; readonly value: number };
  /** The loss and every metric, also of the steps before a stop; what was measured on the way stands under `valid.`, what was watched under `kept.`. */
  readonly curves: Curves;
}

/**
 * The fit loop: one compiled training, step after step, stopped between steps.
 * @throws {LfmError} NUMERIC_DIVERGED with the step when the loss or a parameter is no longer finite, after the state before that step was
 *   saved; CONFIG_INVALID for a learning rate that f32 does not hold, and for fewer steps than are done; ABORTED
 */
export async function fit(options: FitOptions): Promise<FitResult> {
  const { rng, steps, accumulate = 1 } = options;
  requireRate(options.lr);
  const schedule = options.schedule ?? constantSchedule();
  const fresh: FitState = { step: 0, ...initialState(options) };
  const {
    step: resumed,
    best: bestBefore,
    curves: curvesBefore = {},
    ...start
  } = options.resume ?? (options.checkpoint ? await restoreCheckpoint(options.checkpoint, fresh) : fresh);
  if (resumed > steps)
    throw new LfmError("CONFIG_INVALID", `[@lfm/train] ${resumed} steps are done already, and ${steps} are asked for`, {
      hint: `--steps ${resumed} or more, or --fresh to start over`,
    });
  const training = await compileTraining({ ...options, accumulates: accumulate > 1 }, start);
  const curves: Record<string, (readonly [number, number])[]> = copyCurves(curvesBefore);
  const note = (step: number, values: Readonly<Record<string, number>>, prefix = ""): void => {
    for (const [k, v] of Object.entries(values)) {
      curves[prefix + k] ??= [];
      curves[prefix + k]!.push([step, v]);
    }
  };
  const validation = options.validation && { ...options.validation, best: keepBest(options.validation, bestBefore) };
  let done = resumed;
  const snapshot = (): FitState => {
    const best = validation?.best.found();
    return { step: done, ...copyState(training.state()), ...(best ? { best } : {}), curves: copyCurves(curves) };
  };
  let savedAt = performance.now();
  const save = async (): Promise<void> => {
    if (options.checkpoint) await saveCheckpoint(options.checkpoint, snapshot());
    savedAt = performance.now();
  };
  /** Until the next but one step; micro-batches renew buffers more often. */
  const stateBefore = (): TrainingState => {
    const state = training.state();
    return accumulate > 1 ? { ...state, buffers: copy(state.buffers) } : state;
  };
  const diverged = async (what: string, before: TrainingState, values: Readonly<Record<string, number>> = {}): Promise<never> => {
    // Nothing is lost: not what was learned before, and not what was best. At the start there is nothing yet.
    const best = validation?.best.found();
    if (options.checkpoint && done > 0)
      await saveCheckpoint(options.checkpoint, { step: done, ...copyState(before), ...(best ? { best } : {}), curves });
    throw new LfmError("NUMERIC_DIVERGED", `[@lfm/train] ${what} at step ${done}`, {
      details: { step: done, ...values },
      hint: "lower the learning rate (--lr) or clip gradients (--clip-norm 1), and start over (--fresh)",
    });
  };
  try {
    while (done < steps) {
      if (options.signal?.aborted) await save();
      throwIfAborted(options.signal, `[@lfm/train] step ${done}`);
      const batches = [];
      for (let i = 0; i < accumulate; i++) batches.push(await options.batches(done * accumulate + i, training.state()));
      const random = rng.split(`step ${done}`);
      const keys = batches.map(() => random.uint32());
      const before = stateBefore();
      const values = await training.step(batches, { lr: options.lr * schedule(done, steps), step: done + 1, keys });
      if (!Number.isFinite(values.loss)) await diverged(`the loss is ${values.loss}`, before, values);
      const broken = firstNonFinite(training.state().params);
      if (broken !== undefined) await diverged(`"${broken}" is no longer finite`, before, values);
      note(done, values);
      done++;
      options.progress?.({ phase: options.phase ?? "fit", done, total: steps, unit: "step", values });
      if (options.watch && (done === steps || done % options.watch.every === 0))
        note(done - 1, await options.watch.look(done, training.state()), "kept.");
      let stop = false;
      // Before onStep: a snapshot that is taken there knows of this measurement.
      if (validation && (done === steps || done % validation.every === 0)) {
        const measured = await validation.measure(training.state());
        const bad = Object.keys(measured).find((name) => !Number.isFinite(measured[name]));
        if (bad !== undefined) await diverged(`the validation ${bad} is ${measured[bad]}`, training.state());
        note(done - 1, measured, "valid.");
        stop = validation.best.see(done, measured, training.state()) === "stop";
      }
      if ((await options.onStep?.(done, values, snapshot)) === "stop" || stop) break;
      // After onStep: what a caller keeps beside the parameters is then of the same step.
      if (performance.now() - savedAt > SAVE_EVERY_MS) await save();
      // The engine blocks its thread for a whole step: let messages (stop, progress) through between two.
      await new Promise<void>((resolve) => setImmediate(resolve));
    }
    const found = validation?.best.found();
    const { params, buffers } = found ?? copyState(training.state());
    return { params, buffers, steps: done, curves, ...(found ? { best: { step: found.step, value: found.value } } : {}) };
  } finally {
    await training.dispose();
  }
}

/** Steps compute in f32. @throws {LfmError} CONFIG_INVALID */
function requireRate(lr: number): void {
  const held = Math.fround(lr);
  if (Number.isFinite(held) && (held !== 0 || lr === 0)) return;
  throw new LfmError("CONFIG_INVALID", `[@lfm/train] a learning rate of ${lr} is ${held} in f32`, { hint: "--lr 0.001" });
}

/** Keeps the state with the best value. @throws {LfmError} CONFIG_INVALID when the metric is not among what is measured */
function keepBest(
  { metric, better, patience }: Validation,
  before: BestState | undefined,
): {
  see(step: number, values: Readonly<Record<string, number>>, state: TrainingState): "stop" | undefined;
  found(): BestState | undefined;
} {
  let best = before;
  return {
    found: () => best,
    see: (step, values, { params, buffers }) => {
      const value = values[metric];
      if (value === undefined)
        throw new LfmError("CONFIG_INVALID", `[@lfm/train] "${metric}" is not measured; there are ${Object.keys(values).join(", ")}`);
      const wins = best === undefined || (better === "lower" ? value < best.value : value > best.value);
      best = wins || !best ? { step, value, since: 0, params: copy(params), buffers: copy(buffers) } : { ...best, since: best.since + 1 };
      return patience !== undefined && best.since >= patience ? "stop" : undefined;
    },
  };
}

function copyState(state: TrainingState): TrainingState {
  return {
    params: copy(state.params),
    optimizer: Object.fromEntries(Object.entries(state.optimizer).map(([slot, tensors]) => [slot, copy(tensors)])),
    buffers: copy(state.buffers),
    carry: copy(state.carry),
  };
}

function copyCurves(curves: Curves): Record<string, (readonly [number, number])[]> {
  return Object.fromEntries(Object.entries(curves).map(([name, points]) => [name, [...points]]));
}

function copy(tensors: Readonly<Record<string, HostTensor>>): Record<string, HostTensor> {
  return Object.fromEntries(Object.entries(tensors).map(([k, t]) => [k, { ...t, data: t.data.slice() }]));
}
