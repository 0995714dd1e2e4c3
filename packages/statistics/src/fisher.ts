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
import { batchSize, cutBatch, eachBatch, type HostBatch, probeLogits, type TaskProbe } from "./probe.js";
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
  if (estimator === "empirical" && !probe.labels)
    throw new LfmError("CONFIG_INVALID", `[@lfm/statistics] empirical squared gradients need the labels of "${probe.name}"`);
  if (estimator === "expected" && probe.weights)
    throw new LfmError(
      "CONFIG_INVALID",
      `[@lfm/statistics] "${probe.name}" has many answers in each example: take empirical squared gradients`,
    );
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
      const logits = probeLogits(probe, model.forward(params, probe.input(batch), { mode: "eval" }), batch);
      classes = logits.dim(1);
      const { cotangent, weight } = direction(probe, estimator, logits, batch, answer);
      const gradients = vjp(
        [logSoftmax(logits)],
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
    await eachBatch(probe, samples, run, "fisher", async (batch) => {
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

/** What log p [batch, classes] is multiplied with before its gradient is taken, and what the squares are multiplied with. */
function direction(
  probe: TaskProbe,
  estimator: FisherEstimator,
  logits: Tensor,
  batch: Readonly<Record<string, Tensor>>,
  answer: Tensor,
): { readonly cotangent: Tensor; readonly weight?: Tensor } {
  const weighted = (x: Tensor): Tensor => (probe.weights ? mul(x, expandDims(probe.weights(batch), 1)) : x);
  if (estimator === "fusion-bench") return { cotangent: weighted(sqrt(softmax(logits))) };
  if (estimator === "empirical") return { cotangent: weighted(oneHot(probe.labels!(batch), logits.dim(1))) };
  return {
    cotangent: broadcastTo(oneHot(answer, logits.dim(1)), logits.shape),
    weight: reshape(sum(gather(softmax(logits), answer, 1)), []),
  };
}

function examples(batch: HostBatch): HostBatch[] {
  return Array.from({ length: batchSize(batch) }, (_, i) => cutBatch(batch, i, 1));
}
