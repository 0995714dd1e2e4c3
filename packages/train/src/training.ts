/**
 * The training step, open between loss and update. Without accumulation it is one graph: forward, backward, the stages, optimizer. With
 * accumulation it is two: one adds a micro-batch's gradients to a sum, as often as asked; the other turns the sum into an update.
 *
 *   micro-batch ─► loss ─► gradients ─► each ─► (sum) ─► gradients stages ─► optimizer ─► project ─► new state
 */
import {
  add,
  clipByGlobalNorm,
  compileStep,
  div,
  type Engine,
  f32,
  full,
  grad,
  type HostTensor,
  hostTensor,
  LfmError,
  maximum,
  mul,
  type Optimizer,
  type OptimizerState,
  type ParamTree,
  Rng,
  type Spec,
  type Tensor,
  type Weight,
  zeros,
} from "@lfm/core";

/** What a loss sees while it is traced. */
export interface LossContext {
  /** i32[], new in every micro-batch: for dropout and sampling. */
  readonly key: Tensor;
  /** f32[], from 1. */
  readonly step: Tensor;
}

export interface LossResult {
  /** f32[] */
  readonly loss: Tensor;
  /** f32[]: how much this micro-batch counts among those of a step, e.g. its scored positions. Default 1. */
  readonly weight?: Tensor;
  /** Scalars to watch, f32[] each. */
  readonly metrics?: Readonly<Record<string, Tensor>>;
  /** New values of buffers (batch-norm statistics), by name. */
  readonly buffers?: Readonly<Record<string, Tensor>>;
  /** Tensors of any shape to look at, see {@link Training.readings}. Not together with `accumulates`. */
  readonly readings?: Readonly<Record<string, Tensor>>;
}

export type Gradients = Readonly<Record<string, Tensor>>;

/** What a stage between loss and update sees. */
export interface StageContext {
  /** All parameters as they are before the update, the frozen ones too. */
  readonly params: ParamTree;
  /** The stages' own state, see {@link TrainingSpec.carry}. */
  readonly carry: ParamTree;
  /** f32[] learning rate of this step. */
  readonly lr: Tensor;
  /** f32[], from 1. */
  readonly step: Tensor;
  /** i32[], new in every step, for `each` in every micro-batch: another one than the loss drops out by, so that noise is independent of it. */
  readonly key: Tensor;
}

/** Gradients on their way to the optimizer. */
export type GradientStage = (
  gradients: Gradients,
  context: StageContext,
) => { readonly gradients: Gradients; readonly carry?: ParamTree; readonly metrics?: Readonly<Record<string, Tensor>> };

/** Gradients of one micro-batch before they are summed. */
export type MicroBatchStage = (
  gradients: Gradients,
  context: Omit<StageContext, "carry">,
) => {
  readonly gradients: Gradients;
  /** f32[]: how much they count among those of the step, instead of the loss's weight; 1 where samples are clipped and all count alike. */
  readonly weight?: Tensor;
  readonly metrics?: Readonly<Record<string, Tensor>>;
};

/** What may enter between loss and update. */
export interface Stages {
  /** Per-sample clipping with micro-batches of one. Stages that keep state see the whole step: a micro-batch has none. */
  readonly each?: MicroBatchStage;
  /** A chain over the (mean) gradients of the step: clipping, noise, sensitivities. */
  readonly gradients?: readonly GradientStage[];
  /** Parameters after the update, brought back to where they are allowed to be: bounds, pruned ranks. `gradients` — what the update was made of. */
  readonly project?: (
    params: ParamTree,
    context: StageContext & { readonly gradients: Gradients },
  ) => { readonly params: ParamTree; readonly carry?: ParamTree };
  /** What the stages keep from step to step, with its initial values. */
  readonly carry?: Readonly<Record<string, HostTensor>>;
}

/** Types of a micro-batch, by name. */
export type BatchSpec = Readonly<Record<string, Spec>>;
export type Batch<T = HostTensor> = Readonly<Record<string, T>>;

export interface TrainingSpec extends Stages {
  readonly engine: Engine;
  /** Parameters that learn, f32. Not mutated. */
  readonly trainable: Readonly<Record<string, HostTensor>>;
  /** Parameters that stay; read from their files where the engine can. */
  readonly frozen?: Readonly<Record<string, Weight>>;
  /** State that steps overwrite without gradients. */
  readonly buffers?: Readonly<Record<string, HostTensor>>;
  /** Types of a micro-batch; symbolic dimensions let one session serve every length. */
  readonly batch: BatchSpec;
  /** Traced once. `params` holds trainable, frozen and buffers together. */
  readonly loss: (params: ParamTree, batch: Batch<Tensor>, context: LossContext) => LossResult;
  readonly optimizer: Optimizer;
  /** True: a step may take several micro-batches. */
  readonly accumulates?: boolean;
  /**
   * True: steps are given the same batch again and again, the very same tensors; what does not depend on what learns is then computed once per
   * batch. Not together with `accumulates`.
   */
  readonly sameBatch?: boolean;
  readonly threads?: number;
}

/** Everything that changes from step to step. */
export type TrainingState<T = HostTensor> = {
  readonly params: Readonly<Record<string, T>>;
  readonly optimizer: OptimizerState<T>;
  readonly buffers: Readonly<Record<string, T>>;
  readonly carry: Readonly<Record<string, T>>;
};

/** Everything that a later process needs to continue as if it had never stopped. */
export type FitState = TrainingState & {
  readonly step: number;
  /** What was measured best so far, where something was. */
  readonly best?: BestState;
  /** Values so far, by name: [step, value][]. */
  readonly curves?: Curves;
};

/** Name → [step, value][]. */
export type Curves = Readonly<Record<string, readonly (readonly [number, number])[]>>;

/** The state that was measured best, and how long ago. */
export interface BestState extends Pick<TrainingState, "params" | "buffers"> {
  /** Updates done when it was measured. */
  readonly step: number;
  readonly value: number;
  /** Measurements since then. */
  readonly since: number;
}

/** The scalars of one step, never part of a graph. */
export interface StepInputs {
  readonly lr: number;
  /** From 1. */
  readonly step: number;
  /** A 32-bit random key for each micro-batch. */
  readonly keys: readonly number[];
}

/** A compiled training: steps, and the state between them. */
export interface Training {
  /**
   * One update from micro-batches (exactly one unless it accumulates).
   * @returns loss and metrics before the update, means over the micro-batches by their weights
   */
  step(batches: readonly Batch[], inputs: StepInputs): Promise<Record<string, number>>;
  /** The current state; valid until the step after next overwrites it: copy what must live longer. */
  state(): TrainingState;
  /** What the loss of the last step has read, see {@link LossResult.readings}; nothing before the first. */
  readings(): Readonly<Record<string, HostTensor>>;
  /** @throws {LfmError} SHAPE_MISMATCH */
  load(state: TrainingState): void;
  dispose(): Promise<void>;
}

/** The state before the first step. */
export function initialState(spec: Pick<TrainingSpec, "trainable" | "buffers" | "carry" | "optimizer">): TrainingState {
  return {
    params: spec.trainable,
    optimizer: spec.optimizer.init(spec.trainable),
    buffers: spec.buffers ?? {},
    carry: spec.carry ?? {},
  };
}

/** Compiles a training. @param start the state to go on from; default the initial one */
export function compileTraining(spec: TrainingSpec, start: TrainingState = initialState(spec)): Promise<Training> {
  if (spec.accumulates && spec.sameBatch)
    throw new LfmError("INTERNAL", "[@lfm/train] a step over several micro-batches has no batch that stays");
  return spec.accumulates ? compileTwo(spec, start) : compileOne(spec, start);
}

const SCALAR = { dtype: "f32", shape: [] } as const;
const KEY = { dtype: "i32", shape: [] } as const;

async function compileOne(spec: TrainingSpec, start: TrainingState): Promise<Training> {
  const step = await compileStep(spec.engine, {
    state: start,
    frozen: spec.frozen ?? {},
    inputs: { batch: spec.batch, lr: SCALAR, step: SCALAR, key: KEY, eachKey: KEY, stageKey: KEY },
    ...(spec.sameBatch ? { held: ["batch"] } : {}),
    ...(spec.threads ? { threads: spec.threads } : {}),
    step: (state, { batch, lr, step, key, eachKey, stageKey }, frozen) => {
      const params = { ...frozen, ...state.buffers, ...state.params };
      const { loss, metrics, buffers, readings = {} } = spec.loss(params, batch, { key, step });
      const found = microBatch(spec, grad(loss, state.params), { params, lr, step, key: eachKey });
      const next = update(spec, state, found, { params, carry: state.carry, lr, step, key: stageKey });
      return {
        state: { ...next.state, buffers: { ...state.buffers, ...buffers } },
        outputs: { values: { loss, ...metrics, ...next.metrics }, readings },
      };
    },
  });
  let read: Readonly<Record<string, HostTensor>> = {};
  return {
    step: async (batches, inputs) => {
      const [batch] = batches;
      if (!batch || batches.length > 1)
        throw new LfmError("INTERNAL", `[@lfm/train] a step without accumulation takes one batch, got ${batches.length}`);
      const [key, eachKey, stageKey] = [keyOf(inputs, 0), keyOf(inputs, 0, "each"), keyOf(inputs, 0, "stages")];
      const { values, readings } = await step.run({ batch, ...scalarsOf(inputs), key, eachKey, stageKey });
      read = readings;
      return numbersOf(values);
    },
    readings: () => read,
    state: step.state,
    load: step.load,
    dispose: step.dispose,
  };
}

async function compileTwo(spec: TrainingSpec, start: TrainingState): Promise<Training> {
  const types = Object.fromEntries(Object.entries(start.params).map(([k, t]) => [k, { dtype: "f32" as const, shape: t.shape }]));
  const common = { frozen: spec.frozen ?? {}, ...(spec.threads ? { threads: spec.threads } : {}) };
  const collect = await compileStep(spec.engine, {
    ...common,
    state: { sums: zeroed(start.params), weight: zeros([]), buffers: start.buffers },
    inputs: { params: types, batch: spec.batch, lr: SCALAR, step: SCALAR, key: KEY, eachKey: KEY, keep: SCALAR },
    step: (state, { params: own, batch, lr, step, key, eachKey, keep }, frozen) => {
      const params = { ...frozen, ...state.buffers, ...own };
      const { loss, weight, metrics, buffers } = spec.loss(params, batch, { key, step });
      const found = microBatch(spec, grad(loss, own), { params, lr, step, key: eachKey });
      const counts = found.weight ?? weight;
      const sums = Object.fromEntries(
        Object.entries(found.gradients).map(([k, g]) => [k, add(mul(state.sums[k]!, keep), counts ? mul(g, counts) : g)]),
      );
      return {
        state: { sums, weight: add(mul(state.weight, keep), counts ?? 1), buffers: { ...state.buffers, ...buffers } },
        outputs: { values: { loss, ...metrics, ...found.metrics }, weight: weight ?? full([], 1) },
      };
    },
  });
  const { params, optimizer, carry } = start;
  const apply = await compileStep(spec.engine, {
    ...common,
    state: { params, optimizer, carry },
    inputs: { sums: types, weight: SCALAR, lr: SCALAR, step: SCALAR, key: KEY },
    step: (state, { sums, weight, lr, step, key }, frozen) => {
      const gradients = Object.fromEntries(Object.entries(sums).map(([k, s]) => [k, div(s, maximum(weight, LEAST_WEIGHT))]));
      const context: StageContext = { params: { ...frozen, ...state.params }, carry: state.carry, lr, step, key };
      const next = update(spec, state, { gradients, metrics: {} }, context);
      return { state: next.state, outputs: next.metrics };
    },
  });
  return {
    step: async (batches, inputs) => {
      if (batches.length === 0) throw new LfmError("INTERNAL", "[@lfm/train] a step has no micro-batch");
      const scalars = scalarsOf(inputs);
      const totals: Record<string, number> = {};
      let weights = 0;
      for (const [i, batch] of batches.entries()) {
        const own = apply.state().params;
        const { values, weight } = await collect.run({
          params: own,
          batch,
          ...scalars,
          key: keyOf(inputs, i),
          eachKey: keyOf(inputs, i, "each"),
          keep: f32([i === 0 ? 0 : 1], []),
        });
        const w = Number(weight.data[0]);
        for (const [k, v] of Object.entries(numbersOf(values))) totals[k] = (totals[k] ?? 0) + v * w;
        weights += w;
      }
      const { sums, weight } = collect.state();
      const more = numbersOf(await apply.run({ sums, weight, ...scalars, key: keyOf(inputs, 0, "stages") }));
      return { ...Object.fromEntries(Object.entries(totals).map(([k, v]) => [k, v / Math.max(weights, LEAST_WEIGHT)])), ...more };
    },
    readings: () => ({}),
    state: () => ({ ...apply.state(), buffers: collect.state().buffers }),
    load: ({ buffers, ...state }) => {
      apply.load(state);
      collect.load({ ...collect.state(), buffers });
    },
    dispose: async () => {
      await collect.dispose();
      await apply.dispose();
    },
  };
}

/** What micro-batches weigh at least together, so that those where nothing counts give gradients of 0. */
const LEAST_WEIGHT = 1e-8;

function microBatch({ each }: TrainingSpec, gradients: Gradients, context: Omit<StageContext, "carry">): ReturnType<MicroBatchStage> {
  return each ? each(gradients, context) : { gradients };
}

/** Stages, optimizer, projection. */
function update(
  spec: TrainingSpec,
  state: Omit<TrainingState<Tensor>, "buffers">,
  first: ReturnType<MicroBatchStage>,
  context: StageContext,
): { readonly state: Omit<TrainingState<Tensor>, "buffers">; readonly metrics: Readonly<Record<string, Tensor>> } {
  let { gradients, metrics = {} } = first;
  let carry = state.carry;
  for (const stage of spec.gradients ?? []) {
    const next = stage(gradients, { ...context, carry });
    gradients = next.gradients;
    carry = { ...carry, ...next.carry };
    metrics = { ...metrics, ...next.metrics };
  }
  const next = spec.optimizer.update(state.params, gradients, state.optimizer, { lr: context.lr, step: context.step });
  const projected = spec.project?.(next.params, { ...context, carry, gradients });
  return {
    state: { params: projected?.params ?? next.params, optimizer: next.state, carry: { ...carry, ...projected?.carry } },
    metrics,
  };
}

function zeroed(params: TrainingState["params"]): Record<string, HostTensor> {
  return Object.fromEntries(Object.entries(params).map(([k, t]) => [k, zeros(t.shape)]));
}

function scalarsOf({ lr, step }: StepInputs): { readonly lr: HostTensor; readonly step: HostTensor } {
  return { lr: f32([lr], []), step: f32([step], []) };
}

/** The key of micro-batch i for the loss, or the one that stages get in its place. */
function keyOf({ keys }: StepInputs, i: number, stage?: "each" | "stages"): HostTensor {
  const key = keys[i] ?? 0;
  return hostTensor("i32", [], Int32Array.of(stage ? new Rng(key).split(stage).uint32() : key));
}

function numbersOf(out: Readonly<Record<string, HostTensor>>): Record<string, number> {
  return Object.fromEntries(Object.entries(out).map(([k, t]) => [k, Number(t.data[0])]));
}

/** Scales the joint gradient down to a norm of at most `maxNorm`; the norm before is watched as `gradNorm`. */
export function clipNorm(
  maxNorm: number,
): (gradients: Gradients) => { readonly gradients: Gradients; readonly metrics: { readonly gradNorm: Tensor } } {
  return (gradients) => {
    const clipped = clipByGlobalNorm(gradients, maxNorm);
    return { gradients: clipped.grads, metrics: { gradNorm: clipped.norm } };
  };
}
