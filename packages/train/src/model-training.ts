import {
  add,
  buffersOf,
  type ForwardContext,
  type Hook,
  type HostTensor,
  type Model,
  type ModelInput,
  type Outputs,
  type ParamTree,
  type Tensor,
  type Weight,
} from "@lfm/core";
import type { FitOptions } from "./fit.js";
import type { LearningTask, TaskForward } from "./task.js";
import type { Batch, LossContext } from "./training.js";

/**
 * A term of the loss that looks at parameters alone, f32[]: at what learns, at the parameters of the model without it, and at
 * {@link WhatLearns.constants}.
 */
export type Penalty = (own: ParamTree, base: ParamTree, constants: ParamTree) => Tensor;

export interface WhatLearns {
  /** Tensors that learn, with their initial values: parameters of the model under their own names, and the method's own. */
  readonly learned: Readonly<Record<string, HostTensor>>;
  /** Tensors that the method carries and does not train; those named like parameters of the model replace them. */
  readonly carried?: Readonly<Record<string, HostTensor>>;
  /** What the tensors put into the forward pass. */
  readonly hooks?: (tensors: ParamTree) => readonly Hook[];
  /** Terms of the loss besides the task's, by the names they are watched under; training alone has them. */
  readonly penalties?: Readonly<Record<string, Penalty>>;
  /** Tensors that penalties read and nothing moves: how much a weight matters. Those of a file stay there until they are asked for. */
  readonly constants?: Readonly<Record<string, Weight>>;
  /** False: the model's own dropout is off; that of hooks is theirs. Default true. */
  readonly dropout?: boolean;
}

type OfModel = Required<Pick<FitOptions, "trainable" | "frozen" | "buffers" | "batch" | "batches" | "loss">>;

/** What a fit of a model on a task is made of; hooks see the tensors of the batch by name. Buffers that the forward pass renews (batch norm) are carried along, whatever learns. */
export function modelTraining(model: Model, task: LearningTask, what: WhatLearns, mode: ForwardContext["mode"] = "train"): OfModel {
  const { learned, carried = {}, constants = {} } = what;
  const buffers = Object.fromEntries(Object.entries(buffersOf(model)).filter(([name]) => !(name in learned)));
  const moved = (name: string): boolean => name in learned || name in buffers || name in carried;
  const untouched = Object.entries(model.params).filter(([name]) => moved(name));
  const frozen: Record<string, Weight> = {
    ...Object.fromEntries(Object.entries(model.params).filter(([name]) => !moved(name))),
    ...carried,
    // Only what a loss asks of these gets into the graph.
    ...Object.fromEntries(untouched.map(([name, w]) => [`${BASE}${name}`, w])),
    ...Object.fromEntries(Object.entries(constants).map(([name, w]) => [`${CONSTANT}${name}`, w])),
  };
  return {
    trainable: learned,
    frozen,
    buffers,
    batch: task.batch,
    batches: (number) => task.batches(number),
    loss: (params, batch, context) => {
      let renewed: ParamTree = {};
      const forward = taskForward(model, what, mode, params, batch, context, (values) => {
        renewed = { ...renewed, ...values };
      });
      const found = task.loss(forward, batch);
      const terms = mode === "train" ? penaltiesOf(what, params) : {};
      return {
        ...found,
        loss: Object.values(terms).reduce(add, found.loss),
        ...(Object.keys(terms).length > 0 ? { metrics: { ...found.metrics, taskLoss: found.loss, ...terms } } : {}),
        buffers: renewed,
      };
    },
  };
}

const BASE = "base/";
const CONSTANT = "constant/";

function penaltiesOf({ learned, carried = {}, penalties = {} }: WhatLearns, params: ParamTree): ParamTree {
  const own = ownOf({ learned, carried }, params);
  const [base, constants] = [baseOf(params), below(CONSTANT, params)];
  return Object.fromEntries(Object.entries(penalties).map(([name, penalty]) => [name, penalty(own, base, constants)]));
}

/** What learns, and what is carried beside it. */
function ownOf({ learned, carried = {} }: Pick<WhatLearns, "learned" | "carried">, params: ParamTree): ParamTree {
  return Object.fromEntries([...Object.keys(learned), ...Object.keys(carried)].map((name) => [name, params[name]!]));
}

/** The parameters of the model without what learns. */
function baseOf(params: ParamTree): ParamTree {
  return { ...params, ...below(BASE, params) };
}

function below(prefix: string, params: ParamTree): ParamTree {
  return Object.fromEntries(
    Object.entries(params).flatMap(([name, t]) => (name.startsWith(prefix) ? [[name.slice(prefix.length), t]] : [])),
  );
}

function taskForward(
  model: Model,
  { learned, carried = {}, hooks, dropout = true }: WhatLearns,
  mode: ForwardContext["mode"],
  params: ParamTree,
  batch: Batch<Tensor>,
  context: LossContext,
  renew: (buffers: ParamTree) => void,
): TaskForward {
  const own = ownOf({ learned, carried }, params);
  const base = (input: ModelInput, extra: readonly Hook[] = []): Outputs =>
    model.forward(baseOf(params), input, { mode: "eval", hooks: extra, batch });
  return Object.assign(
    (input: ModelInput, extra: readonly Hook[] = []): Outputs => {
      const all = [...(hooks?.(own) ?? []), ...extra];
      const out = model.forward(params, input, { mode, hooks: all, key: context.key, modelDropout: dropout, batch });
      renew(out.buffers ?? {});
      return out;
    },
    { ...context, base },
  );
}
