/**
 * MAML (arXiv 1703.03400): θ'ᵢ = θ − α∇L_Sᵢ(θ) repeated K times; θ ← θ − β∇_θ (1/n)Σᵢ L_Qᵢ(θ'ᵢ), exact second order.
 * First order (FOMAML): the inner gradients count as constants.
 * All tasks of a step lie in one graph; the inner loop is unrolled and differentiated through. Where the model takes a task axis (mlp), a step
 * is one batched product per layer whatever the number of tasks; else the tasks are unrolled too. Batch norm always uses the statistics of the
 * set at hand (support alone, queries alone), in training and in testing, as the authors' code does: queries are answered transductively.
 */
import {
  adam,
  compile,
  concat,
  constantSchedule,
  cosineSchedule,
  crossEntropy,
  defineMethod,
  expandDims,
  grad,
  type HostTensor,
  LfmError,
  type MethodContext,
  meanSquaredError,
  mul,
  stopGradient,
  sub,
  type Tensor,
  throwIfAborted,
} from "@lfm/core";
import { fit, fitContext, trainableParams } from "@lfm/train";
import { z } from "zod";
import { forwardPerTask, perTask, takesTaskAxis } from "../batched-tasks.js";
import {
  type Episode,
  episodeSpecs,
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

/** Traced stacks of episodes: supports and queries with a leading task axis. */
interface Tasks {
  readonly sx: Tensor;
  readonly sy: Tensor;
  readonly qx: Tensor;
}

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
  run: async (inputs: MetaInputs, c, context): Promise<MetaOutput> => {
    const trainable = trainableParams(inputs.model);
    const names = Object.keys(trainable);
    const frozen = Object.fromEntries(Object.entries(inputs.model.params).filter(([n]) => !(n in trainable)));
    const specs = episodeSpecs(await inputs.episodes(0));
    const adaptation = { steps: c.innerSteps, lr: c.innerLr, secondOrder: !c.firstOrder };
    const result = await fit({
      ...fitContext(context, "maml"),
      trainable,
      frozen,
      batch: specs,
      batches: async (step) => stackEpisodes(await inputs.episodes(step)) as never,
      loss: (params, b) => ({ loss: lossOf(inputs.kind, adaptAndAnswer(inputs, params, names, b, adaptation), b.qy) }),
      optimizer: adam(),
      lr: c.metaLr,
      schedule: c.schedule === "cosine" ? cosineSchedule() : constantSchedule(),
      clipNorm: c.clipNorm,
      steps: c.steps,
      threads: c.threads,
    });
    const predict = (episodes: readonly Episode[]): Promise<readonly HostTensor[]> =>
      adaptedAnswers(
        inputs,
        result.params,
        episodes,
        { steps: c.evalSteps, lr: c.innerLr, group: specs.sx.shape[0]!, threads: c.threads },
        context,
      );
    return { params: result.params, curves: result.curves, predict };
  },
});

/**
 * What plain gradient descent from `params` makes of each episode: `steps` of size `lr` on its support set, then the answers to its queries,
 * f32[query, outputs] each. MAML's own test, and the yardstick for any other initialisation.
 * @param options `group` episodes are adapted at a time
 * @throws {LfmError} ABORTED, SHAPE_MISMATCH for episodes of different sizes
 */
export async function adaptedAnswers(
  inputs: Pick<MetaInputs, "model" | "input" | "kind">,
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
      ...episodeSpecs(episodes.slice(0, width)),
    },
    (i, w) => {
      const b = i as unknown as Tasks & { params: TracedParams };
      const all = { ...(w as unknown as TracedParams), ...b.params };
      return { y: adaptAndAnswer(inputs, all, names, b, { ...options, secondOrder: false }) };
    },
    { frozen: Object.fromEntries(Object.entries(inputs.model.params).filter(([n]) => !(n in params))) as never, threads: options.threads },
  );
  try {
    const answers: HostTensor[] = [];
    for (let at = 0; at < episodes.length; at += width) {
      throwIfAborted(context.signal, "[@lfm/meta] maml");
      const some = episodes.slice(at, at + width);
      const padded = [...some, ...Array.from({ length: width - some.length }, () => some[0]!)];
      const { y } = (await f({ params, ...stackEpisodes(padded) } as never)) as unknown as { y: HostTensor };
      answers.push(...unstack(y).slice(0, some.length));
    }
    return answers;
  } finally {
    await f.dispose();
  }
}

/** Gradient steps of each task on its support set, then its answers: f32[tasks, query, outputs]. */
export function adaptAndAnswer(
  inputs: Pick<MetaInputs, "model" | "input" | "kind">,
  params: TracedParams,
  names: readonly string[],
  tasks: Tasks,
  options: { readonly steps: number; readonly lr: number; readonly secondOrder: boolean },
): Tensor {
  const { model, input } = inputs;
  const count = tasks.sx.shape[0] as number;
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
  if (takesTaskAxis(model.info) && input === "features") {
    let own: TracedParams = perTask(params, names, count);
    // The sum over tasks of each task's mean loss: its gradient in a task's own parameters is that task's alone.
    for (let k = 0; k < options.steps; k++)
      own = descend(own, mul(lossOf(inputs.kind, forwardPerTask(model, params, own, tasks.sx), tasks.sy), count));
    return forwardPerTask(model, params, own, tasks.qx);
  }
  const forward = (own: TracedParams, x: Tensor): Tensor => {
    const { logits } = model.forward(own, { [input]: x }, { mode: "train" });
    if (!logits) throw new LfmError("CAPABILITY_MISSING", "[@lfm/meta] maml: the model gives no logits", { hint: "give it a last layer" });
    return logits;
  };
  const answers = Array.from({ length: count }, (_, i) => {
    let own = params;
    for (let k = 0; k < options.steps; k++) own = descend(own, lossOf(inputs.kind, forward(own, taskOf(tasks.sx, i)), taskOf(tasks.sy, i)));
    return expandDims(forward(own, taskOf(tasks.qx, i)), 0);
  });
  return concat(answers, 0);
}

/** Mean over all tasks and items; tasks are of equal size. */
export function lossOf(kind: MetaInputs["kind"], answers: Tensor, targets: Tensor): Tensor {
  return kind === "regression" ? meanSquaredError(answers, targets) : crossEntropy(answers, targets);
}
