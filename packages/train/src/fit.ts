import {
  type Checkpoint,
  clipByGlobalNorm,
  compileStep,
  constantSchedule,
  type Engine,
  f32,
  grad,
  type HostTensor,
  hostTensor,
  LfmError,
  type MapTree,
  type Optimizer,
  type OptimizerState,
  type Progress,
  type Rng,
  type Schedule,
  type Spec,
  type Step,
  type Tensor,
  type Tree,
  throwIfAborted,
  type Weight,
} from "@lfm/core";
import { restoreCheckpoint, saveCheckpoint } from "./checkpoint.js";

const SAVE_EVERY_MS = 60_000;

/** What a loss sees while it is traced. */
export interface LossContext {
  /** i32[], new in every step: for dropout and sampling. */
  readonly key: Tensor;
  /** f32[], from 1. */
  readonly step: Tensor;
}

export interface LossResult {
  /** f32[] */
  readonly loss: Tensor;
  /** Scalars to watch, f32[] each. */
  readonly metrics?: Readonly<Record<string, Tensor>>;
  /** New values of buffers (batch-norm statistics), by name. */
  readonly buffers?: Readonly<Record<string, Tensor>>;
}

export interface FitOptions<I extends Tree<Spec>> {
  readonly engine: Engine;
  /** Parameters that learn, f32. Not mutated. */
  readonly trainable: Readonly<Record<string, HostTensor>>;
  /** Parameters that stay; read from their files where the engine can. */
  readonly frozen?: Readonly<Record<string, Weight>>;
  /** State that steps overwrite without gradients. */
  readonly buffers?: Readonly<Record<string, HostTensor>>;
  /** Types of a batch; symbolic dimensions let one session serve every length. */
  readonly batch: I;
  /** The batch of a step, from 0. */
  readonly batches: (step: number) => MapTree<I, Spec, HostTensor> | Promise<MapTree<I, Spec, HostTensor>>;
  /** Traced once. `params` holds trainable, frozen and buffers together. */
  readonly loss: (params: Readonly<Record<string, Tensor>>, batch: MapTree<I, Spec, Tensor>, context: LossContext) => LossResult;
  readonly optimizer: Optimizer;
  /** Peak learning rate. */
  readonly lr: number;
  readonly schedule?: Schedule;
  readonly steps: number;
  /** Joint gradient norm is clipped to this. */
  readonly clipNorm?: number;
  readonly rng: Rng;
  readonly threads?: number;
  readonly signal?: AbortSignal;
  readonly progress?: (p: Progress) => void;
  readonly phase?: string;
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

/** Everything that a later process needs to continue as if it had never stopped. */
export interface FitState {
  readonly step: number;
  readonly params: Readonly<Record<string, HostTensor>>;
  readonly optimizer: OptimizerState<HostTensor>;
  readonly buffers: Readonly<Record<string, HostTensor>>;
}

export interface FitResult {
  readonly params: Readonly<Record<string, HostTensor>>;
  readonly buffers: Readonly<Record<string, HostTensor>>;
  readonly steps: number;
  /** Name → [step, value][]: the loss and every metric. */
  readonly curves: Readonly<Record<string, readonly (readonly [number, number])[]>>;
}

/**
 * The fit loop: one compiled step run again and again, stopped between steps.
 * @throws {LfmError} NUMERIC_DIVERGED with the step when the loss is no longer finite; ABORTED
 */
export async function fit<const I extends Tree<Spec>>(options: FitOptions<I>): Promise<FitResult> {
  const { rng, steps } = options;
  const schedule = options.schedule ?? constantSchedule();
  const buffers = options.buffers ?? {};
  const fresh: FitState = { step: 0, params: options.trainable, optimizer: options.optimizer.init(options.trainable), buffers };
  const initial = options.resume ?? (options.checkpoint ? await restoreCheckpoint(options.checkpoint, fresh) : fresh);
  const step = await buildStep(options, initial);
  const curves: Record<string, [number, number][]> = {};
  const current = (): Omit<FitState, "step"> => step.state() as unknown as Omit<FitState, "step">;
  let done = initial.step;
  const snapshot = (): FitState => ({ step: done, ...copyState(current()) });
  let savedAt = performance.now();
  const save = async (): Promise<void> => {
    if (options.checkpoint) await saveCheckpoint(options.checkpoint, snapshot());
    savedAt = performance.now();
  };
  try {
    while (done < steps) {
      if (options.signal?.aborted) await save();
      throwIfAborted(options.signal, `[@lfm/train] step ${done}`);
      const batch = await options.batches(done);
      const scalars = {
        lr: f32([options.lr * schedule(done, steps)], []),
        step: f32([done + 1], []),
        key: hostTensor("i32", [], Int32Array.of(rng.split(`step ${done}`).uint32())),
      };
      const out = (await step.run({ batch, ...scalars } as never)) as unknown as Record<string, HostTensor>;
      const values = Object.fromEntries(Object.entries(out).map(([k, t]) => [k, Number(t.data[0])]));
      if (!Number.isFinite(values.loss)) {
        throw new LfmError("NUMERIC_DIVERGED", `[@lfm/train] the loss is ${values.loss} at step ${done}`, {
          details: { step: done, ...values },
          hint: "lower the learning rate or clip gradients (clipNorm: 1)",
        });
      }
      for (const [k, v] of Object.entries(values)) {
        curves[k] ??= [];
        curves[k].push([done, v]);
      }
      done++;
      options.progress?.({ phase: options.phase ?? "fit", done, total: steps, unit: "step", values });
      if ((await options.onStep?.(done, values, snapshot)) === "stop") break;
      // After onStep: what a caller keeps beside the parameters is then of the same step.
      if (performance.now() - savedAt > SAVE_EVERY_MS) await save();
      // The engine blocks its thread for a whole step: let messages (stop, progress) through between two.
      await new Promise<void>((resolve) => setImmediate(resolve));
    }
    const final = copyState(current());
    return { params: final.params, buffers: final.buffers, steps: done, curves };
  } finally {
    await step.dispose();
  }
}

function buildStep<I extends Tree<Spec>>(
  options: FitOptions<I>,
  initial: FitState,
): Promise<Step<unknown, unknown, Record<string, Tensor>>> {
  const scalar = { dtype: "f32", shape: [] } as const;
  return compileStep(options.engine, {
    state: { params: initial.params, optimizer: initial.optimizer, buffers: initial.buffers } as Tree<HostTensor>,
    frozen: (options.frozen ?? {}) as Tree<Weight>,
    inputs: { batch: options.batch, lr: scalar, step: scalar, key: { dtype: "i32", shape: [] } } as Tree<Spec>,
    ...(options.threads ? { threads: options.threads } : {}),
    step: (s, i, frozen) => {
      const state = s as unknown as { params: Record<string, Tensor>; optimizer: OptimizerState<Tensor>; buffers: Record<string, Tensor> };
      const inputs = i as unknown as { batch: MapTree<I, Spec, Tensor>; lr: Tensor; step: Tensor; key: Tensor };
      const all = { ...(frozen as unknown as Record<string, Tensor>), ...state.buffers, ...state.params };
      const { loss, metrics, buffers } = options.loss(all, inputs.batch, { key: inputs.key, step: inputs.step });
      let grads: Record<string, Tensor> = grad(loss, state.params);
      let norm: Record<string, Tensor> = {};
      if (options.clipNorm !== undefined) {
        const clipped = clipByGlobalNorm(grads, options.clipNorm);
        grads = clipped.grads;
        norm = { gradNorm: clipped.norm };
      }
      const next = options.optimizer.update(state.params, grads, state.optimizer, { lr: inputs.lr, step: inputs.step });
      const state1 = { params: next.params, optimizer: next.state, buffers: { ...state.buffers, ...buffers } };
      return { state: state1 as never, outputs: { loss, ...metrics, ...norm } as Record<string, Tensor> };
    },
  }) as unknown as Promise<Step<unknown, unknown, Record<string, Tensor>>>;
}

function copyState(state: Omit<FitState, "step">): Omit<FitState, "step"> {
  const copy = (t: HostTensor): HostTensor => ({ ...t, data: t.data.slice() });
  const all = <K extends string>(r: Readonly<Record<K, HostTensor>>): Record<K, HostTensor> =>
    Object.fromEntries(Object.entries(r).map(([k, t]) => [k, copy(t as HostTensor)])) as Record<K, HostTensor>;
  return {
    params: all(state.params),
    optimizer: Object.fromEntries(Object.entries(state.optimizer).map(([slot, r]) => [slot, all(r)])),
    buffers: all(state.buffers),
  };
}
