import {
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

export interface WhatLearns {
  /** Tensors that learn, with their initial values: parameters of the model under their own names, and the method's own. */
  readonly learned: Readonly<Record<string, HostTensor>>;
  /** Tensors that the method carries and does not train; those named like parameters of the model replace them. */
  readonly carried?: Readonly<Record<string, HostTensor>>;
  /** What the tensors put into the forward pass. */
  readonly hooks?: (tensors: ParamTree) => readonly Hook[];
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
      return { ...task.loss(forward, batch), buffers: renewed };
    },
  };
}

const BASE = "base/";

function taskForward(
  model: Model,
  { learned, carried = {}, hooks, dropout = true }: WhatLearns,
  mode: ForwardContext["mode"],
  params: ParamTree,
  batch: Batch<Tensor>,
  context: LossContext,
  renew: (buffers: ParamTree) => void,
): TaskForward {
  const own = Object.fromEntries([...Object.keys(learned), ...Object.keys(carried)].map((name) => [name, params[name]!]));
  const base = (input: ModelInput, own: readonly Hook[] = []): Outputs => {
    const before = Object.entries(params).flatMap(([name, t]) => (name.startsWith(BASE) ? [[name.slice(BASE.length), t] as const] : []));
    return model.forward({ ...params, ...Object.fromEntries(before) }, input, { mode: "eval", hooks: own, batch });
  };
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
