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

/** A term of the loss that looks at parameters alone, f32[]: at what learns, and at the parameters of the model without it. */
export type Penalty = (own: ParamTree, base: ParamTree) => Tensor;

export interface WhatLearns {
  /** Tensors that learn, with their initial values: parameters of the model under their own names, and the method's own. */
  readonly learned: Readonly<Record<string, HostTensor>>;
  /** Tensors that the method carries and does not train; those named like parameters of the model replace them. */
  readonly carried?: Readonly<Record<string, HostTensor>>;
  /** What the tensors put into the forward pass. */
  readonly hooks?: (tensors: ParamTree) => readonly Hook[];
  /** Terms of the loss besides the task's, by the names they are watched under; training alone has them. */
  readonly penalties?: Readonly<Record<string, Penalty>>;
  /** False: the model's own dropout is off; that of hooks is theirs. Default true. */
  readonly dropout?: boolean;
}

type OfModel = Required<Pick<FitOptions, "trainable" | "frozen" | "buffers" | "batch" | "batches" | "loss">>;

/** What a fit of a model on a task is made of; hooks see the tensors of the batch by name. Buffers that the forward pass renews (batch norm) are carried along, whatever learns. */
export function modelTraining(model: Model, task: LearningTask, what: WhatLearns, mode: ForwardContext["mode"] = "train"): OfModel {
  const { learned, carried = {} } = what;
  const buffers = Object.fromEntries(Object.entries(buffersOf(model)).filter(([name]) => !(name in learned)));
  const moved = (name: string): boolean => name in learned || name in buffers || name in carried;
  const untouched = Object.entries(model.params).filter(([name]) => moved(name));
  const frozen: Record<string, Weight> = {
    ...Object.fromEntries(Object.entries(model.params).filter(([name]) => !moved(name))),
    ...carried,
    // Only what a loss asks of the base gets into the graph.
    ...Object.fromEntries(untouched.map(([name, w]) => [`${BASE}${name}`, w])),
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

function penaltiesOf({ learned, carried = {}, penalties = {} }: WhatLearns, params: ParamTree): ParamTree {
  const own = ownOf({ learned, carried }, params);
  return Object.fromEntries(Object.entries(penalties).map(([name, penalty]) => [name, penalty(own, baseOf(params))]));
}

/** What learns, and what is carried beside it. */
function ownOf({ learned, carried = {} }: Pick<WhatLearns, "learned" | "carried">, params: ParamTree): ParamTree {
  return Object.fromEntries([...Object.keys(learned), ...Object.keys(carried)].map((name) => [name, params[name]!]));
}

/** The parameters of the model without what learns. */
function baseOf(params: ParamTree): ParamTree {
  const before = Object.entries(params).flatMap(([name, t]) => (name.startsWith(BASE) ? [[name.slice(BASE.length), t] as const] : []));
  return { ...params, ...Object.fromEntries(before) };
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
