/**
 * MAML (arXiv 1703.03400): θ'ᵢ = θ − α∇L_Sᵢ(θ) repeated K times; θ ← θ − β∇_θ (1/n)Σᵢ L_Qᵢ(θ'ᵢ), exact second order.
 * First order (FOMAML): the inner gradients count as constants.
 * All tasks of a step lie in one graph; the inner loop is unrolled and differentiated through. Where the model takes a task axis (mlp), a step
 * is one batched product per layer whatever the number of tasks; else the tasks are unrolled too. Batch norm always uses the statistics of the
 * set at hand (support alone, queries alone), in training and in testing, as the authors' code does: queries are answered transductively.
 */
import {
  adam,
  add,
  compile,
  concat,
  constantSchedule,
  cosineSchedule,
  defineMethod,
  div,
  expandDims,
  grad,
  type HostTensor,
  LfmError,
  type MethodContext,
  type Model,
  makeDelta,
  mul,
  type Outputs,
  replacedParameters,
  stopGradient,
  sub,
  type Tensor,
  throwIfAborted,
  trainableParams,
  withDeltas,
} from "@lfm/core";
import { type Batch, clipNorm, fit, fitContext, type Scored, scoredLoss, type TaskShape } from "@lfm/train";
import { z } from "zod";
import { forwardPerTask, perTask, takesTaskAxis } from "../batched-tasks.js";
import {
  type Episode,
  episodeSpecs,
  halfOf,
  type MetaInputs,
  type MetaOutput,
  metaInputs,
  stackEpisodes,
  type TracedParams,
  taskOf,
  unstack,
} from "../inputs.js";

const config = z.strictObject({
  innerLr: z.number().positive().default(0.01).describe("step size α of the inner loop"),
  innerSteps: z.number().int().positive().default(1).describe("gradient steps K on the support set while training"),
  evalSteps: z.number().int().positive().default(5).describe("gradient steps on the support set of a new task"),
  firstOrder: z.boolean().default(false).describe("treat inner gradients as constants (FOMAML)"),
  metaLr: z.number().positive().default(1e-3).describe("step size β of the outer Adam"),
  steps: z.number().int().positive().default(1000).describe("outer steps"),
  schedule: z.enum(["constant", "cosine"]).default("constant").describe("β over the outer steps: as it is, or half a cosine down to 0"),
  clipNorm: z
    .number()
    .positive()
    .default(10)
    .describe("joint norm that meta-gradients are clipped to: one task whose inner loop diverges must not undo what the others taught"),
  threads: z.number().int().positive().default(1).describe("threads inside one operation; graphs this small want 1"),
});

export const maml = defineMethod({
  id: "maml",
  paradigm: "meta",
  summary: "Learns an initialisation from which a few gradient steps solve a new task.",
  paper: {
    title: "Model-Agnostic Meta-Learning for Fast Adaptation of Deep Networks",
    arxiv: "1703.03400",
    year: 2017,
    survey: "6.1 white-box meta-learning",
  },
  needs: ["weights", "grad"],
  inputs: metaInputs,
  config,
  presets: { fomaml: { summary: "first order", config: { firstOrder: true } } },
  delta: replacedParameters,
  run: async (inputs: MetaInputs, c, context): Promise<MetaOutput> => {
    const { model, task, parent = null } = inputs;
    const trainable = trainableParams(model);
    const names = Object.keys(trainable);
    const specs = episodeSpecs(await inputs.episodes(0));
    const tasks = Object.values(specs)[0]!.shape[0]!;
    const adaptation = { steps: c.innerSteps, lr: c.innerLr, secondOrder: !c.firstOrder };
    const result = await fit({
      ...fitContext(context, "maml"),
      trainable,
      frozen: Object.fromEntries(Object.entries(model.params).filter(([n]) => !(n in trainable))),
      batch: specs,
      batches: async (step) => stackEpisodes(await inputs.episodes(step)),
      loss: (params, stack) => ({ loss: meanLoss(adapt(model, task, params, names, stack, adaptation)) }),
      optimizer: adam(),
      lr: c.metaLr,
      schedule: c.schedule === "cosine" ? cosineSchedule() : constantSchedule(),
      gradients: [clipNorm(c.clipNorm)],
      steps: c.steps,
      threads: c.threads,
    });
    const delta = makeDelta(maml, c, result.params, { parent });
    const options = { steps: c.evalSteps, lr: c.innerLr, group: tasks, threads: c.threads };
    return {
      delta,
      model: withDeltas(model, [delta]),
      curves: result.curves,
      predict: (episodes) => adaptedAnswers(inputs, result.params, episodes, options, context),
    };
  },
});

/**
 * What plain gradient descent from `params` makes of each episode: `steps` of size `lr` on its support set, then the answers to its queries,
 * f32[query, outputs] each. MAML's own test, and the yardstick for any other initialisation.
 * @param options `group` episodes are adapted at a time
 * @throws {LfmError} ABORTED, SHAPE_MISMATCH for episodes of different sizes
 */
export async function adaptedAnswers(
  { model, task }: Pick<MetaInputs, "model" | "task">,
  params: Readonly<Record<string, HostTensor>>,
  episodes: readonly Episode[],
  options: { readonly steps: number; readonly lr: number; readonly group: number; readonly threads: number },
  context: Pick<MethodContext, "engine" | "signal">,
): Promise<readonly HostTensor[]> {
  if (episodes.length === 0) return [];
  const names = Object.keys(params);
  const width = Math.min(options.group, episodes.length);
  const f = await compile(
    context.engine,
    {
      params: Object.fromEntries(names.map((n) => [n, { dtype: "f32" as const, shape: params[n]!.shape }])),
      stack: episodeSpecs(episodes.slice(0, width)),
    },
    (i, frozen: TracedParams) => ({
      y: answersOf(adapt(model, task, { ...frozen, ...i.params }, names, i.stack, { ...options, secondOrder: false })),
    }),
    { frozen: Object.fromEntries(Object.entries(model.params).filter(([n]) => !(n in params))), threads: options.threads },
  );
  try {
    const answers: HostTensor[] = [];
    for (let at = 0; at < episodes.length; at += width) {
      throwIfAborted(context.signal, "[@lfm/meta] maml");
      const some = episodes.slice(at, at + width);
      const padded = [...some, ...Array.from({ length: width - some.length }, () => some[0]!)];
      const { y } = await f({ params, stack: stackEpisodes(padded) });
      answers.push(...unstack(y).slice(0, some.length));
    }
    return answers;
  } finally {
    await f.dispose();
  }
}

/**
 * Gradient steps of each task on its support set, then its queries.
 * @param params all of the model's; those called `names` move
 * @returns what is scored: once for all tasks, with a leading task axis, or once for each
 */
export function adapt(
  model: Model,
  task: TaskShape,
  params: TracedParams,
  names: readonly string[],
  stack: Batch<Tensor>,
  options: { readonly steps: number; readonly lr: number; readonly secondOrder: boolean },
): readonly Scored[] {
  const [support, query] = [halfOf("support", stack), halfOf("query", stack)];
  const count = Object.values(support)[0]!.shape[0] as number;
  const descend = (own: TracedParams, loss: Tensor): TracedParams => {
    const gradients = grad(
      loss,
      names.map((n) => own[n]!),
    );
    const moved = names.map((n, i) => [
      n,
      sub(own[n]!, mul(options.secondOrder ? gradients[i]! : stopGradient(gradients[i]!), options.lr)),
    ]);
    return { ...own, ...Object.fromEntries(moved) };
  };
  const learn = (start: TracedParams, batch: Batch<Tensor>, run: (own: TracedParams, batch: Batch<Tensor>) => Scored, factor: number) => {
    let own = start;
    for (let k = 0; k < options.steps; k++) own = descend(own, mul(scoredLoss(run(own, batch)).loss, factor));
    return own;
  };
  if (takesTaskAxis(model.info)) {
    const run = (own: TracedParams, batch: Batch<Tensor>): Scored =>
      scoredOf(task, forwardPerTask(model, params, own, task.input(batch)), batch);
    // The sum over tasks of each task's mean loss: its gradient in a task's own parameters is that task's alone.
    return [run(learn(perTask(params, names, count), support, run, count), query)];
  }
  const run = (own: TracedParams, batch: Batch<Tensor>): Scored =>
    scoredOf(task, model.forward(own, task.input(batch), { mode: "train" }), batch);
  return Array.from({ length: count }, (_, i) => run(learn(params, taskOf(support, i), run, 1), taskOf(query, i)));
}

function scoredOf(task: TaskShape, outputs: Outputs, batch: Batch<Tensor>): Scored {
  if (!outputs.logits)
    throw new LfmError("CAPABILITY_MISSING", "[@lfm/meta] maml: the model gives no logits", { hint: "give it a last layer" });
  return task.scored(outputs, batch);
}

/** Mean over all tasks and items; tasks are of equal size. */
export function meanLoss(scored: readonly Scored[]): Tensor {
  const losses = scored.map((s) => scoredLoss(s).loss);
  return losses.length === 1
    ? losses[0]!
    : div(
        losses.reduce((a, b) => add(a, b)),
        losses.length,
      );
}

/** f32[tasks, query, outputs] */
export function answersOf(scored: readonly Scored[]): Tensor {
  const [first] = scored;
  if (scored.length === 1 && first!.logits.rank === 3) return first!.logits;
  return concat(
    scored.map(({ logits }) => expandDims(logits, 0)),
    0,
  );
}
