import {
  adam,
  compileStep,
  type Engine,
  f32,
  grad,
  type HostTensor,
  LfmError,
  type MapTree,
  type MethodContext,
  type Model,
  type OptimizerState,
  type ParamTree,
  type Spec,
  type Step,
  type Tensor,
  type Tree,
  throwIfAborted,
} from "@lfm/core";
import { type EditBatch, type EditingOutput, editBatchSpec } from "./inputs.js";

type Values = Readonly<Record<string, Tensor>>;
type Inner = Step<unknown, unknown, { loss: Tensor }>;

/** One tensor that Adam moves so that an edit comes true; everything that differs from edit to edit is an input of the compiled step. */
export interface EditStep {
  readonly step: Inner;
  dispose(): Promise<void>;
}

export interface EditStepSpec<E extends Readonly<Record<string, Spec>>> {
  /** Shape of what moves. */
  readonly shape: readonly number[];
  /** Further inputs, the same throughout one edit. */
  readonly extra: E;
  /** f32[] */
  readonly loss: (params: ParamTree, x: Tensor, batch: Values, extra: Values) => Tensor;
  /** Where a step has gone too far: the nearest allowed point. Applied after every update, outside the gradient. */
  readonly project: (params: ParamTree, x: Tensor, extra: Values) => Tensor;
}

/** Sessions of small models are faster on one thread than on more. */
export function editThreads(model: Model): { readonly threads?: number } {
  const size = Object.values(model.info.params).reduce((n, p) => n + p.shape.reduce((a, b) => a * b, 1), 0);
  return size < 5_000_000 ? { threads: 1 } : {};
}

export async function compileEditStep<const E extends Readonly<Record<string, Spec>>>(
  engine: Engine,
  model: Model,
  spec: EditStepSpec<E>,
): Promise<EditStep> {
  const scalar = { dtype: "f32", shape: [] } as const;
  const rule = adam();
  const step = (await compileStep(engine, {
    state: freshState(f32(new Float32Array(spec.shape.reduce((a, b) => a * b, 1)), spec.shape)) as Tree<HostTensor>,
    frozen: model.params as never,
    inputs: { batch: editBatchSpec, extra: spec.extra, lr: scalar, count: scalar } as Tree<Spec>,
    ...editThreads(model),
    step: (s, i, frozen) => {
      const state = s as unknown as { params: { x: Tensor }; optimizer: OptimizerState<Tensor> };
      const inputs = i as unknown as { batch: Values; extra: Values; lr: Tensor; count: Tensor };
      const params = frozen as unknown as ParamTree;
      const loss = spec.loss(params, state.params.x, inputs.batch, inputs.extra);
      const grads = grad(loss, state.params);
      const next = rule.update(state.params, grads, state.optimizer, { lr: inputs.lr, step: inputs.count });
      const x = spec.project(params, next.params.x!, inputs.extra);
      return { state: { params: { x }, optimizer: next.state } as never, outputs: { loss } };
    },
  })) as unknown as Inner;
  return { step, dispose: () => step.dispose() };
}

export interface EditRun {
  readonly start: HostTensor;
  readonly batch: EditBatch;
  readonly extra: Readonly<Record<string, HostTensor>>;
  /** Evaluations of the loss. */
  readonly steps: number;
  readonly lr: number;
  /** No further update once the loss is below. */
  readonly stopLoss: number;
  /** False: the last evaluation is not followed by an update. */
  readonly updateLast: boolean;
  readonly phase: string;
}

/** @throws {LfmError} ABORTED, NUMERIC_DIVERGED */
export async function runEditStep(
  { step }: EditStep,
  run: EditRun,
  context: MethodContext,
): Promise<{ readonly value: HostTensor; readonly curves: EditingOutput["curves"] }> {
  step.load(freshState(run.start));
  const value = (): HostTensor => (step.state() as { params: { x: HostTensor } }).params.x;
  const losses: [number, number][] = [];
  for (let i = 0; i < run.steps; i++) {
    throwIfAborted(context.signal, `[@lfm/editing] ${run.phase} step ${i}`);
    const before = value();
    const inputs = { batch: run.batch, extra: run.extra, lr: f32([run.lr], []), count: f32([i + 1], []) };
    const out = (await step.run(inputs as never)) as unknown as MapTree<{ loss: Tensor }, Tensor, HostTensor>;
    const loss = Number(out.loss.data[0]);
    if (!Number.isFinite(loss))
      throw new LfmError("NUMERIC_DIVERGED", `[@lfm/editing] ${run.phase}: the loss is ${loss} at step ${i}`, { hint: "lower lr" });
    losses.push([i, loss]);
    context.progress({ phase: run.phase, done: i + 1, total: run.steps, unit: "step", values: { loss } });
    // The engine blocks its thread for a whole step: let messages (stop, progress) through between two.
    await new Promise<void>((resolve) => setImmediate(resolve));
    if (loss < run.stopLoss || (i === run.steps - 1 && !run.updateLast)) return { value: copy(before), curves: { loss: losses } };
  }
  return { value: copy(value()), curves: { loss: losses } };
}

function freshState(x: HostTensor): { readonly params: { readonly x: HostTensor }; readonly optimizer: OptimizerState<HostTensor> } {
  return { params: { x }, optimizer: adam().init({ x }) };
}

function copy(t: HostTensor): HostTensor {
  return { ...t, data: t.data.slice() };
}
