import {
  buffersOf,
  changedBy,
  compile,
  type Delta,
  type DeltaForm,
  defineMethod,
  deltaInput,
  type Engine,
  type HostTensor,
  type InputDeclarations,
  inputKind,
  LfmError,
  learnerInput,
  type Method,
  type MethodContext,
  type Model,
  type Monitor,
  makeDelta,
  type ParamTree,
  parameterNamesInput,
  parentInput,
  requirePlainBase,
  scaledRates,
  trainableParams,
  withDeltas,
} from "@lfm/core";
import type { TextRules } from "@lfm/models";
import type { FisherStatistics } from "@lfm/statistics";
import {
  compileValidation,
  type FitResult,
  fit,
  fitContext,
  type LearningTask,
  modelTraining,
  type Stages,
  taskInput,
  type ValidationSet,
  validationInput,
  type WhatLearns,
} from "@lfm/train";
import type { z } from "zod";
import { fisherInput, freshInput, keptBy, replayInput } from "./against/index.js";
import { type ForgettingWatch, retainedInput, watchForgetting } from "./forgetting-monitor.js";
import { taskOptions } from "./objectives/task-options.js";
import type { PeftForm } from "./peft-form.js";
import { divided, oneAfterAnother, type Phase } from "./phases.js";
import { type AnyStart, goneOnFrom, type Start, withoutHead } from "./start.js";
import { fitOptionsOf, type TrainingConfig } from "./training-options.js";

export interface TuningInputs {
  readonly model: Model;
  readonly task: LearningTask;
  /** Hash of the base, recorded in the delta. */
  readonly parent?: string;
  /** Parameters besides the method's own that learn in full, e.g. a fresh classification head. */
  readonly alsoTrain?: readonly string[];
  /** Examples that are measured every `validEvery` steps while training, the best state is kept: one is refused without the other. */
  readonly validation?: ValidationSet;
  /** A delta of the same method and options to go on from, instead of a fresh one. */
  readonly from?: Delta;
  /** Deltas that the new one is composed of, for methods that compose (AdapterFusion), by name. */
  readonly members?: Readonly<Record<string, Delta>>;
  /** Examples of what the model knew, to be learned beside the new ones. */
  readonly replay?: LearningTask;
  /** How much each weight matters to what the model knows. */
  readonly fisher?: FisherStatistics;
  /** Held-out examples of what the model knew: a training that loses it is told. */
  readonly retained?: ValidationSet;
  /** Parameters without trained values: a head that was just put on. */
  readonly fresh?: readonly string[];
  /** How text becomes ids, for methods that begin with words. */
  readonly text?: TextRules;
  /** What the examples are answered with: names of classes, or completions. */
  readonly answers?: readonly string[];
}

/** What the examples are answered with, each once. */
export const answersInput = inputKind<readonly string[]>("answers");

/** What is read against forgetting alone. */
const keptInputs = {
  replay: { kind: replayInput, about: "of what the model knew, to be learned beside the new ones", hint: "--against replay" },
  fisher: { kind: fisherInput, about: "on examples of what it knew", hint: "--against ewc" },
} as const;

/** What every tuning method is given. */
const tuningInputs = {
  model: learnerInput,
  task: { kind: taskInput, options: taskOptions },
  parent: parentInput,
  alsoTrain: { kind: parameterNamesInput, about: "that learn in full beside the method's own", optional: true },
  validation: { kind: validationInput, optional: true },
  retained: { kind: retainedInput, about: "of what the model knew, held out: a training that loses it is told", optional: true },
  fresh: { kind: freshInput, optional: true },
  from: { kind: deltaInput, about: "of the same method and options, to go on from instead of a fresh one", optional: true },
} as const;

export interface TuningOutput {
  readonly delta: Delta;
  /** The base with the delta on it. */
  readonly model: Model;
  readonly curves: FitResult["curves"];
  /** The measurement that was best, where there was one. */
  readonly best?: FitResult["best"];
  /** What was seen of what the model knew, where it was looked at. */
  readonly monitors?: readonly Monitor[];
}

export interface TuningMethod<Schema extends z.ZodObject = z.ZodObject> extends Method<TuningInputs, TuningOutput, Schema> {
  readonly delta: DeltaForm<z.output<Schema>>;
  /** The form of its deltas in PEFT's files, where PEFT has the method. */
  readonly peft?: PeftForm<z.output<Schema>>;
  /** What it learns before the first step: names and shapes tell how much that is. As {@link TuningSpec.start}. */
  start(inputs: TuningInputs, config: z.output<Schema>, context: MethodContext): Start;
}

/** Any tuning method, for lists: what they are given differs, what they learn is a delta. */
// biome-ignore lint/suspicious/noExplicitAny: a heterogeneous list has no common type of inputs and options
export type AnyTuningMethod = Method<any, Pick<TuningOutput, "delta" | "curves">, any> & {
  // biome-ignore lint/suspicious/noExplicitAny: as above
  readonly delta: DeltaForm<any>;
  // biome-ignore lint/suspicious/noExplicitAny: as above
  readonly peft?: PeftForm<any>;
  /** Of those that train by gradients: {@link TuningMethod.start}. */
  // biome-ignore lint/suspicious/noExplicitAny: as above
  readonly start?: TuningMethod<any>["start"];
};

/** A method that comes to its delta by a way of its own. */
export interface DeltaMethod<Inputs, Output, Schema extends z.ZodObject> extends Method<Inputs, Output, Schema> {
  readonly delta: DeltaForm<z.output<Schema>>;
  readonly peft?: PeftForm<z.output<Schema>>;
}

/** Checks and freezes a method that is no training by gradients: a search, or a choice of words. @throws {LfmError} CONFIG_INVALID */
export function defineDeltaMethod<Inputs, Output, Schema extends z.ZodObject>(
  method: DeltaMethod<Inputs, Output, Schema>,
): DeltaMethod<Inputs, Output, Schema> {
  defineMethod(method);
  return Object.freeze(method);
}

export interface TuningSpec<Schema extends z.ZodObject>
  extends Pick<Method<TuningInputs, TuningOutput, Schema>, "id" | "summary" | "paper" | "config" | "presets"> {
  readonly delta: DeltaForm<z.output<Schema>>;
  readonly peft?: PeftForm<z.output<Schema>>;
  /** What it is given beside what every tuning method is. */
  readonly inputs?: Partial<InputDeclarations<TuningInputs, z.output<Schema>>>;
  /** Terms of the loss besides the task's, by the names they are watched under. */
  penalties?(config: z.output<Schema>): NonNullable<WhatLearns["penalties"]>;
  /** The part of the options that says how to train. */
  training(config: z.output<Schema>): TrainingConfig;
  /** Phases that come before the one in which everything learns, in their order. */
  before?(config: z.output<Schema>, inputs: TuningInputs): readonly Phase[];
  /** How fast a tensor learns: a factor of the learning rate, 1 where there is none. `shape` — the tensor's. */
  rate?(config: z.output<Schema>, name: string, shape: readonly number[]): number;
  /** @throws {LfmError} CONFIG_INVALID, CAPABILITY_MISSING for a model that has no place for it */
  start(inputs: TuningInputs, config: z.output<Schema>, context: MethodContext): Start;
  /** What enters between loss and update, e.g. a budget of ranks. */
  stages?(config: z.output<Schema>, start: Start): Stages;
  /**
   * Traced: the tensors of the delta out of those that `start` gave, where a reparametrisation learns more easily (prefix tuning's MLP). What learns
   * in full beside them stays as it is.
   */
  express?(config: z.output<Schema>, learned: ParamTree, model: Model): ParamTree;
  /** The inverse of `express`, where there is one: what learns, out of the tensors of a delta to go on from. */
  begin?(config: z.output<Schema>, tensors: Start["learned"], model: Model): Start["learned"];
  /** The tensors and options of the delta out of what was learned, e.g. without the ranks that were pruned; what is carried, unless it is left out. */
  finish?(
    learned: Readonly<Record<string, HostTensor>>,
    config: z.output<Schema>,
    carried: NonNullable<Start["carried"]>,
  ): {
    readonly tensors: Readonly<Record<string, HostTensor>>;
    readonly config?: z.output<Schema>;
    readonly carried?: Start["carried"];
  };
}

/** A method that learns a delta on a task by gradients: what it adds to the model, and what it does between loss and update. */
export function defineTuning<Schema extends z.ZodObject>(spec: TuningSpec<Schema>): TuningMethod<Schema> {
  const { id, summary, paper, config, presets, delta, peft } = spec;
  const method: TuningMethod<Schema> = {
    id,
    paradigm: "tuning",
    summary,
    paper,
    needs: ["weights", "grad"],
    inputs: {
      ...tuningInputs,
      replay: { ...keptInputs.replay, when: (c) => spec.training(c).against.includes("replay") },
      fisher: { ...keptInputs.fisher, when: (c) => spec.training(c).against.includes("ewc") },
      ...spec.inputs,
    },
    config,
    ...(presets ? { presets } : {}),
    delta,
    ...(peft ? { peft } : {}),
    run: async (inputs, c, context) => {
      const { parent = null } = inputs;
      const members = Object.entries(inputs.members ?? {}).map(([name, member]) => withoutHead(name, member, inputs.model));
      const fresh = spec.start(inputs, c, context);
      const also = trainableParams(inputs.model, inputs.alsoTrain ?? []);
      const begin = (tensors: Start["learned"]): Start["learned"] => spec.begin?.(c, tensors, inputs.model) ?? tensors;
      const start = goneOnFrom(inputs.from, `tuning/${id}`, { ...fresh, learned: { ...fresh.learned, ...also } }, begin, inputs.model);
      const make = (tensors: Start["learned"], options: z.output<Schema>, carried: Start["carried"] = start.carried): Delta =>
        makeDelta<z.output<Schema>>(method, options, { ...carried, ...tensors }, { parent, members });
      let { learned, buffers } = start;
      requirePlainBase(inputs.model, make(learned, c));
      const parts: FitResult["curves"][] = [];
      const watched = watchOf(inputs, spec.training(c), context);
      for (const phase of spec.before?.(c, inputs) ?? []) {
        const [own, others] = divided(learned, phase.learns);
        // Parameters of the base that nothing has moved yet stay where they lie.
        const moved = inputs.from ? others : divided(others, (name) => !Object.hasOwn(inputs.model.info.params, name))[0];
        const now = { learned: own, carried: { ...start.carried, ...moved }, ...(buffers ? { buffers } : {}) };
        const part = await train(spec, inputs, c, context, now, make({ ...own, ...moved }, c), watched, phase);
        parts.push(part.curves);
        learned = { ...learned, ...part.params };
        buffers = part.buffers;
      }
      const last = { ...start, learned, ...(buffers ? { buffers } : {}) };
      const { params, buffers: ended, curves, best } = await train(spec, inputs, c, context, last, make(learned, c), watched);
      const expressed = await expressedTensors(context.engine, spec, c, params, Object.keys(fresh.learned), inputs.model);
      const { tensors, config: final = c, carried } = spec.finish?.(expressed, c, start.carried ?? {}) ?? { tensors: expressed };
      const found = make({ ...tensors, ...renewed(inputs.model, ended) }, final, carried);
      const monitor = watched?.monitor(changedBy(found, inputs.model));
      return {
        delta: found,
        model: withDeltas(inputs.model, [found]),
        curves: oneAfterAnother([...parts, curves]),
        ...(best ? { best } : {}),
        ...(monitor ? { monitors: [monitor] } : {}),
      };
    },
    start: spec.start.bind(spec),
  };
  defineMethod(method);
  return Object.freeze(method);
}

/** Trains with the hooks that the delta will have: they stand in one place. */
async function train<Schema extends z.ZodObject>(
  spec: TuningSpec<Schema>,
  inputs: TuningInputs,
  c: z.output<Schema>,
  context: MethodContext,
  start: AnyStart,
  initial: Delta,
  watched: ForgettingWatch | undefined,
  phase?: Phase,
): Promise<FitResult> {
  const { model, validation } = inputs;
  const options = phase?.training ?? spec.training(c);
  const stages = spec.stages?.(c, start) ?? {};
  const express = (tree: ParamTree): ParamTree => ({ ...tree, ...spec.express?.(c, tree, model) });
  const { task, penalties, constants } = keptBy(options, inputs, initial, express);
  const what: WhatLearns = {
    learned: start.learned,
    carried: Object.fromEntries(Object.entries(initial.tensors).filter(([name]) => !(name in start.learned))),
    hooks: (tree) => initial.hooks(express(tree)),
    dropout: options.modelDropout,
    penalties: { ...spec.penalties?.(c), ...penalties },
    ...(constants ? { constants } : {}),
  };
  const { rate } = spec;
  const { optimizer, ...chosen } = fitOptionsOf(options, task);
  const ofModel = modelTraining(model, task, what);
  const { validEvery: every, patience } = options;
  if (every !== undefined && !validation)
    throw new LfmError("CONFIG_INVALID", `[@lfm/tuning] ${spec.id}: validEvery measures validation examples, and none are given`);
  if (every === undefined && validation)
    throw new LfmError("CONFIG_INVALID", `[@lfm/tuning] ${spec.id}: nothing says when the validation examples are measured`, {
      hint: "give validEvery, or leave the examples out",
    });
  if (every === undefined && patience !== undefined)
    throw new LfmError("CONFIG_INVALID", `[@lfm/tuning] ${spec.id}: patience counts measurements of validation examples`, {
      hint: "give validEvery",
    });
  const measured =
    validation && every !== undefined ? { every, ...(await compileValidation(context.engine, model, validation, what)) } : undefined;
  const looking = await watched?.during(context.engine, what, chosen.steps);
  try {
    return await fit({
      ...(looking ? { watch: looking.watch } : {}),
      ...fitContext(context, `tuning/${spec.id}${phase ? `/${phase.name}` : ""}`),
      ...ofModel,
      buffers: { ...ofModel.buffers, ...start.buffers },
      ...chosen,
      optimizer: rate ? scaledRates(optimizer, (name) => rate(c, name, start.learned[name]!.shape)) : optimizer,
      ...stages,
      gradients: [...chosen.gradients, ...(stages.gradients ?? [])],
      ...(measured
        ? {
            validation: {
              every: measured.every,
              measure: measured.measure,
              metric: "loss",
              better: "lower" as const,
              ...(patience === undefined ? {} : { patience }),
            },
          }
        : {}),
    });
  } finally {
    await looking?.dispose();
    await measured?.dispose();
  }
}

/** @throws {LfmError} CONFIG_INVALID, CAPABILITY_MISSING */
function watchOf({ model, retained, fresh = [] }: TuningInputs, c: TrainingConfig, context: MethodContext): ForgettingWatch | undefined {
  if (!retained) {
    if (c.monitorEvery === undefined) return undefined;
    throw new LfmError("CONFIG_INVALID", "[@lfm/tuning] monitorEvery measures examples of what the model knew, and none are given", {
      hint: "--retained FILE",
    });
  }
  if (fresh.length > 0)
    throw new LfmError("CAPABILITY_MISSING", "[@lfm/tuning] a model with a fresh head knew no answers that it could forget", {
      hint: "leave --retained out, or give a model with its head",
    });
  return watchForgetting(model, retained, { every: c.monitorEvery, limit: c.forgetLimit }, (message) => context.log(message));
}

/** The delta's tensors out of what was learned, computed once by the same function that training traced. @param own names of the method's tensors */
async function expressedTensors<Schema extends z.ZodObject>(
  engine: Engine,
  spec: TuningSpec<Schema>,
  c: z.output<Schema>,
  learned: FitResult["params"],
  own: readonly string[],
  model: Model,
): Promise<FitResult["params"]> {
  const { express } = spec;
  if (!express) return learned;
  const frozen = Object.fromEntries(own.map((name) => [name, learned[name]!]));
  const beside = Object.fromEntries(Object.entries(learned).filter(([name]) => !(name in frozen)));
  const f = await compile(engine, {}, (_none, params: ParamTree) => express(c, params, model), { frozen });
  try {
    return { ...beside, ...(await f({})) };
  } finally {
    await f.dispose();
  }
}

/** Buffers that training has moved (running statistics of batch norm): they are part of what was learned, whatever else was. */
function renewed(model: Model, buffers: FitResult["buffers"]): Record<string, HostTensor> {
  const before = buffersOf(model);
  return Object.fromEntries(Object.entries(buffers).filter(([name, t]) => t.data.some((v, i) => v !== before[name]!.data[i])));
}
