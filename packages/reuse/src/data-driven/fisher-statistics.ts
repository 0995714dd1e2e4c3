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
  type MethodContext,
  type Model,
  mul,
  oneHot,
  reshape,
  type Spec,
  softmax,
  sqrt,
  square,
  sum,
  type Tensor,
  vjp,
  zeros,
} from "@lfm/core";
import { trainableParams } from "@lfm/train";
import { batchSize, cutBatch, eachBatch, type HostBatch, probeLogits, type TaskProbe } from "./task-probe.js";

/**
 * What stands for the diagonal of the Fisher matrix, per parameter:
 * - `expected`: E_x Σ_y p(y|x)·(∂ log p(y|x))², the definition (arXiv 2111.09832, equation 4): one backward pass per example and class;
 * - `empirical`: E_x (∂ log p(label|x))²; where an example has several rows of logits, log p is their weighted sum;
 * - `fusion-bench`: (∂ Σ_x Σ_y √p·log p)² of each batch, summed over batches and divided by the examples. √p is held constant. It depends on
 *   the size of batches, and gradients of the examples and classes of a batch may cancel; it is what fusion_bench 0.2.33 computes.
 */
export type FisherEstimator = "expected" | "empirical" | "fusion-bench";

export interface StatisticsRun extends Pick<MethodContext, "signal" | "progress"> {
  readonly engine: Engine;
  readonly threads?: number;
}

/** Squared gradients of every trainable parameter, of its shape, f32, by name. @throws {LfmError} CONFIG_INVALID, ABORTED */
export async function collectFisher(
  run: StatisticsRun,
  model: Model,
  probe: TaskProbe,
  samples: number,
  estimator: FisherEstimator,
): Promise<Record<string, HostTensor>> {
  if (estimator === "empirical" && !probe.labels)
    throw new LfmError("CONFIG_INVALID", `[@lfm/reuse] empirical squared gradients need the labels of "${probe.name}"`);
  if (estimator === "expected" && probe.weights)
    throw new LfmError("CONFIG_INVALID", `[@lfm/reuse] "${probe.name}" has many answers in each example: take empirical squared gradients`);
  const own = trainableParams(model);
  const names = Object.keys(own);
  let classes: Dim = 1;
  const step = await compileStep(run.engine, {
    state: { sums: Object.fromEntries(names.map((n) => [n, zeros(own[n]!.shape)])) },
    frozen: { ...model.params, ...own },
    inputs: { batch: probe.batch as Record<string, Spec>, answer: { dtype: "i32", shape: [1] } },
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
      `[@lfm/reuse] the number of classes of "${probe.name}" is not fixed: take empirical squared gradients`,
    );
  try {
    const answers = estimator === "expected" ? Array.from({ length: classes as number }, (_, c) => c) : [0];
    await eachBatch(probe, samples, run, "fisher", async (batch) => {
      for (const part of estimator === "fusion-bench" ? [batch] : examples(batch))
        for (const answer of answers) await step.run({ batch: part as never, answer: i32([answer]) });
    });
    const { sums } = step.state();
    return Object.fromEntries(
      names.map((n) => [
        n,
        f32(
          (sums[n]!.data as Float32Array).map((v) => v / samples),
          sums[n]!.shape,
        ),
      ]),
    );
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
