import {
  add,
  broadcastTo,
  compileStep,
  type Dim,
  type Engine,
  expandDims,
  f32,
  gather,
  type HostTensor,
  i32,
  LfmError,
  logSoftmax,
  type Model,
  mul,
  oneHot,
  reshape,
  softmax,
  sqrt,
  square,
  sum,
  type Tensor,
  trainableParams,
  vjp,
  zeros,
} from "@lfm/core";
import { hashWeights } from "@lfm/formats";
import { type Answers, batchSize, cutBatch, eachBatch, type HostBatch, probeAnswers, type TaskProbe } from "./probe.js";
import { type CollectOptions, type FisherEstimator, type FisherStatistics, readOptions } from "./statistics.js";

export interface FisherOptions extends CollectOptions {
  /** Default "expected". */
  readonly estimator?: FisherEstimator;
}

/** Squared gradients of every trainable parameter. @throws {LfmError} CONFIG_INVALID, ABORTED */
export async function collectFisher(
  engine: Engine,
  model: Model,
  probe: TaskProbe,
  options: FisherOptions = {},
): Promise<FisherStatistics> {
  const { samples, run } = readOptions(options);
  const { estimator = "expected" } = options;
  const hash = options.model ?? (await hashWeights(model.params));
  const own = trainableParams(model);
  const names = Object.keys(own);
  let classes: Dim = 1;
  const step = await compileStep(engine, {
    state: { sums: Object.fromEntries(names.map((n) => [n, zeros(own[n]!.shape)])) },
    frozen: { ...model.params, ...own },
    inputs: { batch: probe.batch, answer: { dtype: "i32", shape: [1] } },
    ...(run.threads ? { threads: run.threads } : {}),
    step: ({ sums }, { batch, answer }, params) => {
      const answers = probeAnswers(probe, model.forward(params, probe.input(batch), { mode: "eval" }), batch);
      classes = answers.logits.dim(1);
      const { cotangent, weight } = direction(probe.name, estimator, answers, answer);
      const gradients = vjp(
        [logSoftmax(answers.logits)],
        [cotangent],
        names.map((n) => params[n]!),
      );
      const next = names.map((n, i) => {
        const squared = square(gradients[i]!);
        return [n, add(sums[n]!, weight ? mul(squared, weight) : squared)] as const;
      });
      return { state: { sums: Object.fromEntries(next) }, outputs: {} };
    },
  });
  if (estimator === "expected" && typeof classes !== "number")
    throw new LfmError(
      "CONFIG_INVALID",
      `[@lfm/statistics] the number of classes of "${probe.name}" is not fixed: take empirical squared gradients`,
    );
  try {
    const answers = estimator === "expected" ? Array.from({ length: classes as number }, (_, c) => c) : [0];
    await eachBatch(probe, samples, run, "fisher", async (batch): Promise<undefined> => {
      for (const part of estimator === "fusion-bench" ? [batch] : examples(batch))
        for (const answer of answers) await step.run({ batch: part, answer: i32([answer]) });
    });
    const { sums } = step.state();
    const mean = (t: HostTensor): HostTensor =>
      f32(
        (t.data as Float32Array).map((v) => v / samples),
        t.shape,
      );
    return { kind: "fisher", tensors: Object.fromEntries(names.map((n) => [n, mean(sums[n]!)])), estimator, model: hash, samples };
  } finally {
    await step.dispose();
  }
}

/** What log p [batch, classes] is multiplied with before its gradient is taken, and what the squares are multiplied with. @throws {LfmError} CONFIG_INVALID */
function direction(
  name: string,
  estimator: FisherEstimator,
  { logits, targets, weights }: Answers,
  answer: Tensor,
): { readonly cotangent: Tensor; readonly weight?: Tensor } {
  const weighted = (x: Tensor): Tensor => (weights ? mul(x, expandDims(weights, 1)) : x);
  if (estimator === "fusion-bench") return { cotangent: weighted(sqrt(softmax(logits))) };
  if (estimator === "empirical") {
    if (!targets) throw new LfmError("CONFIG_INVALID", `[@lfm/statistics] empirical squared gradients need the labels of "${name}"`);
    return { cotangent: weighted(oneHot(targets, logits.dim(1))) };
  }
  if (weights)
    throw new LfmError("CONFIG_INVALID", `[@lfm/statistics] "${name}" has many answers in each example: take empirical squared gradients`);
  return {
    cotangent: broadcastTo(oneHot(answer, logits.dim(1)), logits.shape),
    weight: reshape(sum(gather(softmax(logits), answer, 1)), []),
  };
}

function examples(batch: HostBatch): HostBatch[] {
  return Array.from({ length: batchSize(batch) }, (_, i) => cutBatch(batch, i, 1));
}
