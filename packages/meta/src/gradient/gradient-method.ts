/** What gradient-based methods have in common: options, training of what they begin with, answers after a few steps. A method says what is its own. */
import {
  adam,
  constantSchedule,
  cosineSchedule,
  type HostTensor,
  isLfmError,
  linearSchedule,
  type MethodContext,
  type Model,
  type Optimizer,
  type Tensor,
  trainableParams,
} from "@lfm/core";
import { type Batch, clipNorm, fit, fitContext, type LossContext } from "@lfm/train";
import { z } from "zod";
import { defineMetaMethod, type Learned, type MetaMethod, OF_START } from "../define-meta-method.js";
import { episodeSpecs, headParams, type MetaInputs, stackEpisodes, type TracedParams } from "../inputs.js";
import { normOption } from "../statistics-of.js";
import { type EpisodeReader, groupTasks, type TaskGroup } from "../task-groups.js";
import { answerAdapted, compileAdaptation, requireFinite } from "./adapted-answers.js";
import type { InnerLoop } from "./inner-loop.js";
import { type Order, orders, outerLoss } from "./outer-loss.js";

/** The same option with another default. */
export function withDefault<T extends z.ZodType>(
  option: z.ZodDefault<T>,
  value: z.output<T> & z.util.NoUndefined<z.output<T>>,
): z.ZodDefault<T> {
  return option
    .unwrap()
    .default(value)
    .describe(option.description ?? "");
}

/** Options of the outer loop. */
export const outerOptions = {
  metaLr: z.number().positive().default(1e-3).describe("step size β of the outer Adam"),
  steps: z.number().int().positive().default(1000).describe("outer steps"),
  schedule: z
    .enum(["constant", "cosine", "linear"])
    .default("constant")
    .describe("β over the outer steps: as it is, half a cosine or a line down to 0"),
  clipNorm: z
    .number()
    .positive()
    .default(10)
    .describe("joint norm that meta-gradients are clipped to: one task whose inner loop diverges must not undo what the others taught"),
  threads: z.number().int().positive().default(1).describe("threads inside one operation; graphs this small want 1"),
};

/** Options of the inner loop. */
export const innerOptions = {
  innerLr: z.number().positive().default(0.01).describe("step size α of the inner loop"),
  innerSteps: z.number().int().positive().default(1).describe("gradient steps K on the support set while training"),
  evalSteps: z.number().int().min(0).default(5).describe("gradient steps on the support set of a new task"),
  norm: normOption("transductive"),
};

/** Options of a method whose outer loop differentiates through the inner one. */
export const gradientOptions = {
  ...innerOptions,
  order: z
    .enum(orders)
    .default("exact")
    .describe(
      "the meta-gradient: exact through the whole inner loop; hvp the same by products with Hessians, in memory that does not grow with the steps; first without second derivatives",
    ),
  ...outerOptions,
};

type InnerConfig = z.output<z.ZodObject<typeof innerOptions>>;
type OuterConfig = z.output<z.ZodObject<typeof outerOptions>>;

/** What every gradient-based method can be told. */
type GradientConfig = InnerConfig & OuterConfig & { readonly order?: Order };

/** What one gradient-based method has of its own. */
export interface GradientMethodSpec<Schema extends z.ZodObject>
  extends Pick<MetaMethod<Schema>, "id" | "summary" | "paper" | "config" | "presets"> {
  /** The inner loop, in training or on a new task. */
  loop(config: z.output<Schema>, steps: number, phase: "training" | "answering"): InnerLoop;
  /** Names of the parameters that move within a task; all else that learns is shared. Default: all that learn. */
  moves?(model: Model): readonly string[];
  /** What the outer loop learns beside the model's parameters, with initial values. Names begin with {@link OWN}. */
  own?(moves: readonly string[], model: Model, config: z.output<Schema>): Readonly<Record<string, HostTensor>>;
  /** f32[] that the outer loop makes small; default the queries' loss after the last step, differentiated as `order` says. */
  outer?(groups: readonly TaskGroup[], loop: InnerLoop, learned: TracedParams, config: z.output<Schema>, context: LossContext): Tensor;
  /** Of the outer loop; default Adam. */
  readonly optimizer?: Optimizer;
}

/** A method that learns what an inner loop begins with. @throws {LfmError} CONFIG_INVALID for an id that is none */
export function defineGradientMethod<Schema extends z.ZodObject & z.ZodType<GradientConfig>>({
  loop,
  moves: moving,
  own,
  outer,
  optimizer,
  ...described
}: GradientMethodSpec<Schema>): MetaMethod<Schema> {
  const { id } = described;
  return defineMetaMethod<Schema>({
    ...described,
    norm: (c) => c.norm,
    learn: (inputs, c, context) => {
      const moves = moving?.(inputs.model) ?? namesThatLearn(inputs);
      const inner = loop(c, c.innerSteps, "training");
      const rule: GradientRule = {
        moves,
        own: own?.(moves, inputs.model, c) ?? {},
        loop: inner,
        outer: (groups, learned, at) =>
          outer ? outer(groups, inner, learned, c, at) : outerLoss(groups, inner, learned, c.order ?? "exact"),
        optimizer: optimizer ?? adam(),
      };
      return learnStart(id, inputs, c, rule, context);
    },
    answer: ({ model, task, config: c, tensors }, episodes, context) => {
      const moves = moving?.(model) ?? Object.keys(tensors).filter((name) => !name.startsWith(OWN));
      const adaptation = { reader: { model, task, norm: c.norm }, moves, loop: loop(c, c.evalSteps, "answering"), tensors };
      return answerAdapted(id, adaptation, episodes, context, { threads: c.threads });
    },
  });
}

interface GradientRule {
  readonly moves: readonly string[];
  readonly own: Readonly<Record<string, HostTensor>>;
  readonly loop: InnerLoop;
  outer(groups: readonly TaskGroup[], learned: TracedParams, context: LossContext): Tensor;
  readonly optimizer: Optimizer;
}

/** In front of the names of an inner loop's own tensors. */
export const OWN = "inner.";

const schedules = { constant: constantSchedule, cosine: cosineSchedule, linear: linearSchedule } as const;

/** @throws {LfmError} NUMERIC_DIVERGED that names task and inner step, and as `fit` */
async function learnStart(
  id: string,
  inputs: MetaInputs,
  c: InnerConfig & OuterConfig,
  rule: GradientRule,
  context: MethodContext,
): Promise<Learned> {
  const { model, task } = inputs;
  const trainable = { ...trainableParams(model, learningNames(inputs)), ...rule.own };
  const frozen = Object.fromEntries(Object.entries(model.params).filter(([n]) => !(n in trainable)));
  const reader: EpisodeReader = { model, task, norm: c.norm };
  let last: { readonly stack: Batch; readonly params: Readonly<Record<string, HostTensor>> } | undefined;
  try {
    const result = await fit({
      ...fitContext(context, id),
      trainable,
      frozen,
      batch: episodeSpecs(await inputs.episodes(0)),
      batches: async (step, state) => {
        const stack = stackEpisodes(await inputs.episodes(step));
        last = { stack, params: state.params };
        return stack;
      },
      loss: (params, stack, at) => ({ loss: rule.outer(groupTasks(reader, params, rule.moves, stack), params, at) }),
      optimizer: rule.optimizer,
      lr: c.metaLr,
      schedule: schedules[c.schedule](),
      gradients: [clipNorm(c.clipNorm)],
      steps: c.steps,
      threads: c.threads,
    });
    return { tensors: result.params, curves: result.curves };
  } catch (error) {
    if (!isLfmError(error, "NUMERIC_DIVERGED") || !last) throw error;
    // Only now: a training that goes well does not look into its inner loops.
    const f = await compileAdaptation(
      { reader, moves: rule.moves, loop: rule.loop, tensors: last.params },
      last.stack,
      context.engine,
      c.threads,
    );
    const { sums } = await f({ tensors: last.params, stack: last.stack });
    await f.dispose();
    requireFinite(id, sums, 0, error);
    throw error;
  }
}

/** Parameters that the outer loop learns: all, or over a delta the delta's and a fresh head. */
function learningNames({ model, start }: MetaInputs): readonly string[] | undefined {
  if (!start) return undefined;
  const ofDelta = Object.keys(model.live ?? {}).filter((name) => OF_START.test(name) && !start.frozen.has(name.replace(OF_START, "")));
  return [...new Set([...ofDelta, ...headParams(model)])];
}

/** Names of all that the outer loop learns of the model. */
function namesThatLearn(inputs: MetaInputs): readonly string[] {
  return learningNames(inputs) ?? Object.keys(inputs.model.info.params).filter((n) => inputs.model.info.params[n]!.trainable);
}
