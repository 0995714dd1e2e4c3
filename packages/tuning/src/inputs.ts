import {
  adamw,
  constantSchedule,
  cosineSchedule,
  type Delta,
  type Hook,
  type HostTensor,
  LfmError,
  learnerInput,
  linearSchedule,
  type MethodContext,
  type Model,
  nearestName,
  type ParamTree,
  parameterNamesInput,
  parentInput,
  type Site,
  withDeltas,
} from "@lfm/core";
import { type FitResult, fit, fitContext, type LearningTask, taskInput } from "@lfm/train";
import { z } from "zod";

export interface TuningInputs {
  readonly model: Model;
  readonly task: LearningTask;
  /** Hash of the base, recorded in the delta. */
  readonly parent?: string;
  /** Parameters besides the method's own that learn in full, e.g. a fresh classification head. */
  readonly alsoTrain?: readonly string[];
}

/** What every tuning method is given. */
export const tuningInputs = {
  model: learnerInput,
  task: taskInput,
  parent: parentInput,
  alsoTrain: { kind: parameterNamesInput, about: "that learn in full beside the method's own", optional: true },
} as const;

export interface TuningOutput {
  readonly delta: Delta;
  /** The base with the delta on it. */
  readonly model: Model;
  readonly curves: FitResult["curves"];
}

/** Options that every gradient-trained method has. */
export const trainingFields = {
  steps: z.number().int().positive().default(200).describe("optimizer steps"),
  lr: z.number().positive().default(1e-3).describe("peak learning rate η"),
  weightDecay: z.number().min(0).default(0).describe("decoupled weight decay λ of AdamW"),
  schedule: z.enum(["constant", "linear", "cosine"]).default("constant").describe("learning rate over the steps"),
  warmup: z.number().int().min(0).default(0).describe("warm-up steps"),
  clipNorm: z.number().positive().optional().describe("largest joint gradient norm"),
};

export type TrainingConfig = z.output<z.ZodObject<typeof trainingFields>>;

/** The sites a list of targets names: exact path, dotted suffix, or role ("q", "v", "out"), as in PEFT. @throws {LfmError} CONFIG_INVALID with near misses */
export function targetSites(model: Model, targets: readonly string[]): readonly Site[] {
  const linear = model.info.sites.filter((s) => s.kind === "linear" || s.kind === "head");
  const hits = (target: string): readonly Site[] =>
    target === "all-linear"
      ? linear.filter((s) => s.kind === "linear")
      : linear.filter((s) => s.path === target || s.path.endsWith(`.${target}`) || s.role === target);
  for (const target of targets) {
    if (hits(target).length > 0) continue;
    const names = new Set(linear.flatMap((s) => [s.path.split(".").at(-1)!, ...(s.role ? [s.role] : [])]));
    const near = nearestName(target, names);
    throw new LfmError("CONFIG_INVALID", `[@lfm/tuning] no linear layer is called "${target}"`, {
      hint: near ? `did you mean "${near}"?` : `there are: ${[...names].join(", ")}`,
    });
  }
  const chosen = new Set(targets.flatMap((t) => hits(t)));
  return linear.filter((s) => chosen.has(s));
}

/** Trains the tensors of a delta on a frozen base and returns it with what it learned. */
export async function fitDelta(
  inputs: TuningInputs,
  config: TrainingConfig,
  context: MethodContext,
  delta: {
    readonly kind: Delta["kind"];
    readonly method: string;
    readonly config: Readonly<Record<string, unknown>>;
    readonly initial: Readonly<Record<string, HostTensor>>;
    readonly hooks: (t: ParamTree) => readonly Hook[];
  },
): Promise<TuningOutput> {
  const { model, task } = inputs;
  const schedules = { constant: constantSchedule(), linear: linearSchedule(config.warmup), cosine: cosineSchedule(config.warmup) };
  const frozen = Object.fromEntries(Object.entries(model.params).filter(([name]) => !(name in delta.initial)));
  const result = await fit({
    ...fitContext(context, delta.method),
    trainable: delta.initial,
    frozen,
    batch: task.batch,
    batches: (step) => task.batches(step) as never,
    loss: (params, batch, { key }) => {
      const own = Object.fromEntries(Object.keys(delta.initial).map((n) => [n, params[n]!]));
      const out = model.forward(params, task.input(batch as never), { mode: "train", hooks: delta.hooks(own), key });
      return { loss: task.loss(out, batch as never) };
    },
    optimizer: adamw({ weightDecay: config.weightDecay }),
    lr: config.lr,
    schedule: schedules[config.schedule],
    steps: config.steps,
    ...(config.clipNorm === undefined ? {} : { clipNorm: config.clipNorm }),
  });
  const learned: Delta = {
    kind: delta.kind,
    method: delta.method,
    config: delta.config,
    parent: inputs.parent ?? null,
    tensors: result.params,
    hooks: delta.hooks,
  };
  return { delta: learned, model: withDeltas(model, [learned]), curves: result.curves };
}
