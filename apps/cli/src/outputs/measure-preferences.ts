import { compileModel, type Engine, type Model, padRows } from "@lfm/core";
import { completionBatch, completionLogProbs, completionSpec, scoredLogProbs, tokenInput, tokenSpec } from "@lfm/train";
import { type BatchOptions, type CompletionRow, inOrder, type PairRow } from "@lfm/tuning";
import type { PreferenceRows } from "../inputs/preferences.js";
import type { Measured } from "./measure.js";
import { mean, meanError } from "./uncertain.js";

/**
 * How a model prefers. A language model by its implicit rewards r = log π − log π₀ in nats, π₀ the base: `margin` is the mean of r(chosen) −
 * r(rejected), `accuracy` the share of pairs where it is positive; `likelier` the share whose chosen completion has the larger log π itself. A model
 * with one output by its scores. Of judged completions `margin` is the difference of the means of desirable and undesirable ones.
 * @param base without it, a language model's rewards are not known
 */
export async function measurePreferences(
  engine: Engine,
  model: Model,
  base: Model | undefined,
  preferences: PreferenceRows,
  o: Pick<BatchOptions, "batchSize">,
): Promise<Measured> {
  const scores = model.info.task === "classifier";
  const of = (m: Model, rows: readonly CompletionRow[]): Promise<Float64Array> =>
    (scores ? scoresOf : completionsOf)(engine, m, rows, o.batchSize);
  /** Rewards of rows, and log π where that is another thing. */
  const rewardsOf = async (rows: readonly CompletionRow[]): Promise<{ readonly own?: Float64Array; readonly rewards?: Float64Array }> => {
    const own = await of(model, rows);
    if (scores) return { rewards: own };
    return { own, ...(base ? { rewards: difference(own, await of(base, rows)) } : {}) };
  };
  if (preferences.kind === "judged") {
    const [good, bad] = [true, false].map((wanted) => preferences.rows.filter((r) => r.desirable === wanted));
    const [a, b] = [(await rewardsOf(good!)).rewards, (await rewardsOf(bad!)).rewards];
    if (!a || !b || a.length === 0 || b.length === 0) return { metrics: {}, standardErrors: {} };
    return {
      metrics: { margin: mean(a) - mean(b) },
      standardErrors: { margin: Math.hypot(meanError(a), meanError(b)) },
    };
  }
  const side = (which: "chosen" | "rejected"): readonly CompletionRow[] => preferences.rows.map((r: PairRow) => r[which]);
  const [chosen, rejected] = [await rewardsOf(side("chosen")), await rewardsOf(side("rejected"))];
  const margins = chosen.rewards && rejected.rewards && difference(chosen.rewards, rejected.rewards);
  const likelier = chosen.own && rejected.own && positive(difference(chosen.own, rejected.own));
  const values = {
    ...(margins ? { margin: margins, accuracy: positive(margins) } : {}),
    ...(likelier ? { likelier } : {}),
  };
  const each = (f: (x: Float64Array) => number): Record<string, number> =>
    Object.fromEntries(Object.entries(values).map(([name, x]) => [name, f(x)]));
  return { metrics: each(mean), standardErrors: each(meanError) };
}

function difference(a: Float64Array, b: Float64Array): Float64Array {
  return a.map((v, i) => v - b[i]!);
}

function positive(x: Float64Array): Float64Array {
  return x.map((v) => (v > 0 ? 1 : 0));
}

/** log π of each completion. */
async function completionsOf(engine: Engine, model: Model, rows: readonly CompletionRow[], batchSize: number): Promise<Float64Array> {
  const f = await compileModel(engine, model, completionSpec(["own"]), (batch, params, at) => {
    const each = scoredLogProbs((input, hooks) => at.forward(params, input, { mode: "eval", hooks }), {
      tokens: batch.tokens!,
      scored: batch.scored!,
    });
    return { found: completionLogProbs(each, batch.own!) };
  });
  const found = await inBatches(rows, batchSize, (some) =>
    f(
      completionBatch(
        some.map((r) => r.ids),
        { own: some.map(({ weights }, row) => ({ row, weights })) },
      ),
    ),
  );
  await f.dispose();
  return found;
}

/** What a head with one output answers to each. */
async function scoresOf(engine: Engine, model: Model, rows: readonly CompletionRow[], batchSize: number): Promise<Float64Array> {
  const input = tokenInput({});
  const f = await compileModel(engine, model, tokenSpec({}), (batch, params, at) => ({
    found: at.forward(params, input(batch), { mode: "eval" }).logits!,
  }));
  const found = await inBatches(rows, batchSize, (some) => f({ ...padRows(some.map((r) => r.ids)) }));
  await f.dispose();
  return found;
}

async function inBatches(
  rows: readonly CompletionRow[],
  batchSize: number,
  f: (rows: readonly CompletionRow[]) => Promise<{ readonly found: { readonly data: ArrayLike<number | bigint> } }>,
): Promise<Float64Array> {
  const { batch, perEpoch } = inOrder(rows.length, batchSize);
  const all: number[] = [];
  for (let n = 0; n < perEpoch; n++) {
    const { found } = await f(batch(n).map((i) => rows[i]!));
    for (let i = 0; i < found.data.length; i++) all.push(Number(found.data[i]));
  }
  return Float64Array.from(all);
}
