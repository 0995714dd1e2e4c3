import {
  argMax,
  cast,
  compileModel,
  crossEntropyPerItem,
  equal,
  LfmError,
  type MethodContext,
  type Model,
  type Tensor,
  throwIfAborted,
} from "@lfm/core";
import { batchesOf, type ProbedExamples, sizeOfBatch } from "../inputs.js";

/** What a model's answers to examples say of each of them. */
export interface Signals {
  /** −ln p of the right answer; of a text the mean over its predicted tokens. f64[n], ≥ 0 */
  readonly losses: Float64Array;
  /** ln(p / (1 − p)), of a text with p = exp(−loss): it is near normal where p itself crowds at 1 (LiRA's φ). f64[n] */
  readonly odds: Float64Array;
  /** 1 where the right answer is the model's; of a text the share of tokens. f64[n] */
  readonly right: Float64Array;
}

/** A probability of 1 in f32 has no odds: what is left over there counts as this much, the spacing of f32 below 1. */
const LEAST = 2 ** -24;

/**
 * Asks a model about examples.
 * @param phase what progress is called
 * @throws {LfmError} CAPABILITY_MISSING for examples that are answered with values, or a model without answers
 */
export async function signalsOf(
  { engine, signal, progress }: Pick<MethodContext, "engine" | "signal" | "progress">,
  model: Model,
  examples: ProbedExamples,
  phase: string,
): Promise<Signals> {
  const batches = batchesOf(examples);
  const ask = await compileModel(engine, model, examples.batch, (batch, params, at) => {
    const { logits, targets, weights } = examples.scored(at.forward(params, examples.input(batch), { mode: "eval" }), batch);
    if (targets.dtype === "f32")
      throw new LfmError(
        "CAPABILITY_MISSING",
        `[@lfm/probe] "${examples.name}" is answered with values: what is told of classes and tokens`,
      );
    const right = cast(equal(argMax(logits), targets), "f32");
    // Logits of a few classes leave the graph, for odds of a p near 1 need more than f32 has left of them; those of a vocabulary would be too many.
    const answers = logits.rank === 2 ? { logits, targets } : { losses: crossEntropyPerItem(logits, targets) };
    const out: Record<string, Tensor> = { ...answers, right, ...(weights ? { weights } : {}) };
    return out;
  });
  const all: Record<keyof Signals, number[]> = { losses: [], odds: [], right: [] };
  try {
    for (const [i, batch] of batches.entries()) {
      throwIfAborted(signal, "[@lfm/probe] asking the model");
      const out = await ask(batch);
      const rows = sizeOfBatch(batch);
      for (let r = 0; r < rows; r++) {
        const one = out.logits
          ? ofClasses(out.logits.data, out.targets!.data, r, rows)
          : ofText(out.losses!.data, out.weights?.data, r, rows);
        all.losses.push(one.loss);
        all.odds.push(one.odds);
        all.right.push(weightedRow(out.right!.data, out.weights?.data, r, rows));
      }
      progress({ phase, done: i + 1, total: batches.length, unit: "batch" });
    }
  } finally {
    await ask.dispose();
  }
  return { losses: Float64Array.from(all.losses), odds: Float64Array.from(all.odds), right: Float64Array.from(all.right) };
}

type Values = ArrayLike<number | bigint>;

/** ln p_y − ln Σ_{k ≠ y} p_k, in f64. */
function ofClasses(logits: Values, targets: Values, row: number, rows: number): { readonly loss: number; readonly odds: number } {
  const classes = logits.length / rows;
  const own = Array.from({ length: classes }, (_, k) => Number(logits[row * classes + k]));
  const right = Number(targets[row]);
  const others = own.filter((_, k) => k !== right);
  const most = Math.max(...others);
  const rest = most + Math.log(others.reduce((sum, x) => sum + Math.exp(x - most), 0));
  const odds = own[right]! - rest;
  return { loss: softplus(-odds), odds };
}

function ofText(losses: Values, weights: Values | undefined, row: number, rows: number): { readonly loss: number; readonly odds: number } {
  const loss = Math.max(LEAST, weightedRow(losses, weights, row, rows));
  return { loss, odds: -loss - Math.log(-Math.expm1(-loss)) };
}

/** Mean over the positions of a row that count. */
function weightedRow(values: Values, weights: Values | undefined, row: number, rows: number): number {
  const width = values.length / rows;
  let [sum, total] = [0, 0];
  for (let i = row * width; i < (row + 1) * width; i++) {
    const weight = weights ? Number(weights[i]) : 1;
    sum += weight * Number(values[i]);
    total += weight;
  }
  return total === 0 ? 0 : sum / total;
}

/** ln(1 + eˣ) */
function softplus(x: number): number {
  return Math.max(x, 0) + Math.log1p(Math.exp(-Math.abs(x)));
}
