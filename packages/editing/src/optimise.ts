import {
  adam,
  type Engine,
  type HostTensor,
  LfmError,
  type MethodContext,
  type Model,
  type Optimizer,
  type ParamTree,
  type Spec,
  sizeOf,
  splitLive,
  type Tensor,
  throwIfAborted,
  zeros,
} from "@lfm/core";
import { compileTraining, initialState, type Training, type TrainingSpec } from "@lfm/train";
import type { OnModel } from "./editor.js";
import type { EditingOutput } from "./inputs.js";

type Values = Readonly<Record<string, Tensor>>;

export interface EditStepSpec {
  /** Shape of the change that is looked for. */
  readonly shape: readonly number[];
  /** Inputs, the same throughout one edit. */
  readonly batch: Readonly<Record<string, Spec>>;
  readonly loss: (model: Model, params: ParamTree, change: Tensor, batch: Values) => EditLoss;
  /** What moves the change; default Adam. */
  readonly optimizer?: Optimizer;
}

interface EditLoss {
  /** f32[] */
  readonly loss: Tensor;
  /** Where a step has gone too far: the nearest allowed point, of tensors that the loss is made of too. Applied after every update. */
  readonly project?: (change: Tensor) => Tensor;
  /** What the search shall tell beside. */
  readonly readings?: Readonly<Record<string, Tensor>>;
}

/** What differs from edit to edit: all of it is fed to the compiled step. */
interface EditRun {
  readonly batch: Readonly<Record<string, HostTensor>>;
  /** What the change begins at; default zero. */
  readonly from?: HostTensor;
  /** Evaluations of the loss. */
  readonly steps: number;
  readonly lr: number;
  /** No further update once the loss is below. */
  readonly stopLoss: number;
  /** False: the last evaluation is not followed by an update. */
  readonly updateLast: boolean;
  readonly phase: string;
  /** Which of how many such runs this is, from 0: for progress. Default the only one. */
  readonly part?: readonly [number, number];
}

/** One change that is moved so that an edit comes true. */
export interface EditStep extends OnModel {
  /** @throws {LfmError} ABORTED, NUMERIC_DIVERGED */
  run(run: EditRun, context: Pick<MethodContext, "signal" | "progress">): Promise<FoundChange>;
}

interface FoundChange {
  readonly change: HostTensor;
  readonly losses: Curve;
  /** See {@link EditLoss.readings}. */
  readonly readings: Readonly<Record<string, HostTensor>>;
}
type Curve = EditingOutput["curves"][string];

/** Sessions of small models are faster on one thread than on more. */
export function editThreads(model: Model): { readonly threads?: number } {
  const size = Object.values(model.info.params).reduce((n, p) => n + sizeOf(p.shape), 0);
  return size < 5_000_000 ? { threads: 1 } : {};
}

/** Compiles the search for a change of `model`; what deltas brought to it is an input, see {@link OnModel.swap}. */
export async function compileEditStep(engine: Engine, model: Model, spec: EditStepSpec): Promise<EditStep> {
  let at = await open(engine, model, spec);
  return {
    run: (run, context) => search(at, run, context),
    model: () => at.model,
    swap: async (to) => {
      const before = at;
      at = await open(engine, to, spec);
      await before.training.dispose();
    },
    dispose: () => at.training.dispose(),
  };
}

const CHANGE = "change";
const LIVE = "live/";

interface Opened {
  readonly model: Model;
  readonly training: Training;
  /** What deltas brought, as entries of the batch. */
  readonly live: Readonly<Record<string, HostTensor>>;
  readonly start: Pick<TrainingSpec, "trainable" | "optimizer">;
}

async function open(engine: Engine, model: Model, spec: EditStepSpec): Promise<Opened> {
  const { frozen, live, specs } = splitLive(model);
  const start = { trainable: { [CHANGE]: zeros(spec.shape) }, optimizer: spec.optimizer ?? adam() };
  // The loss is traced before the update, into the same graph.
  let project: EditLoss["project"];
  const training = await compileTraining({
    engine,
    ...start,
    ...editThreads(model),
    // The batch of an edit is the same in every step: only what the change reaches is computed again.
    sameBatch: true,
    frozen,
    batch: { ...spec.batch, ...renamed(specs, (name) => `${LIVE}${name}`) },
    loss: (params, batch) => {
      const brought = Object.fromEntries(Object.keys(live).map((name) => [name, batch[`${LIVE}${name}`]!]));
      const { project: bound, ...found } = spec.loss(model, { ...params, ...brought }, params[CHANGE]!, batch);
      project = bound;
      return found;
    },
    project: (params) => ({ params: project ? { [CHANGE]: project(params[CHANGE]!) } : params }),
  });
  return { model, training, start, live: renamed(live, (name) => `${LIVE}${name}`) };
}

async function search(
  { training, live, start }: Opened,
  run: EditRun,
  context: Pick<MethodContext, "signal" | "progress">,
): Promise<FoundChange> {
  training.load(initialState({ ...start, ...(run.from ? { trainable: { [CHANGE]: run.from } } : {}) }));
  const batch = { ...run.batch, ...live };
  const [part, parts] = run.part ?? [0, 1];
  const losses: [number, number][] = [];
  for (let i = 0; i < run.steps; i++) {
    throwIfAborted(context.signal, `[@lfm/editing] ${run.phase} step ${i}`);
    const before = training.state().params[CHANGE]!;
    const { loss } = await training.step([batch], { lr: run.lr, step: i + 1, keys: [0] });
    if (!Number.isFinite(loss))
      throw new LfmError("NUMERIC_DIVERGED", `[@lfm/editing] ${run.phase}: the loss is ${loss} at step ${i}`, { hint: "lower lr" });
    losses.push([i, loss!]);
    const [done, total] = [part * run.steps + i + 1, parts * run.steps];
    context.progress({ phase: run.phase, done, total, unit: "step", values: { loss: loss! } });
    // The engine blocks its thread for a whole step: let messages (stop, progress) through between two.
    await new Promise<void>((resolve) => setImmediate(resolve));
    // The update that this evaluation has brought with it is left out.
    if (loss! < run.stopLoss || (i === run.steps - 1 && !run.updateLast))
      return { change: copy(before), losses, readings: training.readings() };
  }
  return { change: copy(training.state().params[CHANGE]!), losses, readings: training.readings() };
}

function renamed<T>(tree: Readonly<Record<string, T>>, rename: (name: string) => string): Record<string, T> {
  return Object.fromEntries(Object.entries(tree).map(([name, t]) => [rename(name), t]));
}

function copy(t: HostTensor): HostTensor {
  return { ...t, data: t.data.slice() };
}
