import {
  adam,
  add,
  entropy,
  type HostTensor,
  isBareSymbol,
  log,
  type MethodContext,
  maximum,
  mean,
  mul,
  neg,
  type Outputs,
  type ParamTree,
  type Spec,
  softmax,
  sub,
  sum,
  sym,
  type Tensor,
  type Weights,
} from "@lfm/core";
import { probeAnswers, type TaskProbe } from "@lfm/statistics";
import { type FitResult, fit, fitContext } from "@lfm/train";
import { z } from "zod";

/** Options of every method that adapts to unlabelled examples. */
export const adaptationFields = {
  steps: z.number().int().min(0).default(500).describe("Adam steps; each sees one batch of every task"),
  lr: z.number().positive().default(1e-3).describe("step size η of Adam"),
  balance: z
    .number()
    .min(0)
    .default(0)
    .describe(
      "weight of the entropy of a batch's mean answer, which is made large: keeps answers from all becoming one (arXiv 2002.08546)",
    ),
};

export interface Adaptation {
  /** What learns; the rest is frozen. */
  readonly trainable: Readonly<Record<string, HostTensor>>;
  readonly frozen: Weights;
  /** Answers of the model that is adapted to a batch of task number `task`. */
  readonly forward: (params: ParamTree, probe: TaskProbe, batch: Readonly<Record<string, Tensor>>, task: number) => Outputs;
}

/**
 * Minimises the entropy of the answers, −Σ p·log p, mean over the examples of a batch, summed over tasks (arXiv 2310.02575, equation 4), less
 * `balance` times the entropy of each batch's mean answer.
 * @returns what was learned, and curves: the loss and `entropy.TASK`
 */
export async function adaptByEntropy(
  probes: readonly TaskProbe[],
  c: { readonly steps: number; readonly lr: number; readonly balance: number },
  context: MethodContext,
  phase: string,
  { trainable, frozen, forward }: Adaptation,
): Promise<Pick<FitResult, "params" | "curves">> {
  if (c.steps === 0) return { params: trainable, curves: {} };
  const batch = Object.fromEntries(
    probes.flatMap((p, i) => Object.entries(p.batch).map(([key, spec]) => [`${i}/${key}`, ownSymbols(spec, i)])),
  );
  return fit({
    ...fitContext(context, phase),
    trainable,
    frozen,
    batch,
    batches: (step) => Object.fromEntries(probes.flatMap((p, i) => Object.entries(p.batches(step)).map(([key, t]) => [`${i}/${key}`, t]))),
    loss: (params, all) => {
      const each = probes.map((probe, i) => {
        const own = Object.fromEntries(Object.keys(probe.batch).map((key) => [key, all[`${i}/${key}`]!]));
        return answerEntropies(probeAnswers(probe, forward(params, probe, own, i), own).logits, c.balance > 0);
      });
      const losses = each.map(({ own, mean: spread }) => (spread ? sub(own, mul(spread, c.balance)) : own));
      return {
        loss: losses.reduce((a, b) => add(a, b)),
        metrics: Object.fromEntries(probes.map((p, i) => [`entropy.${p.name}`, each[i]!.own])),
      };
    },
    optimizer: adam(),
    lr: c.lr,
    steps: c.steps,
  });
}

/** Mean entropy of the answers, and on request the entropy of the mean answer. */
function answerEntropies(logits: Tensor, balanced: boolean): { readonly own: Tensor; readonly mean?: Tensor } {
  const own = mean(entropy(logits));
  if (!balanced) return { own };
  const p = mean(softmax(logits), 0);
  return { own, mean: neg(sum(mul(p, log(maximum(p, 1e-8))))) };
}

/** Batches of different tasks differ in length: each has symbols of its own. */
function ownSymbols(spec: Spec, task: number): Spec {
  return { dtype: spec.dtype, shape: spec.shape.map((d) => (isBareSymbol(d) ? sym(`${d}_${task}`) : d)) };
}
