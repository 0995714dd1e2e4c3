import {
  argMax,
  cast,
  compileModel,
  crossEntropyPerItem,
  dimSub,
  type Engine,
  equal,
  greaterEqual,
  type HostTensor,
  type Model,
  mul,
  slice,
  sum,
  sym,
} from "@lfm/core";
import type { Tokenizer } from "@lfm/formats";
import { type BatchOptions, type LabelledRows, languageBatch, type TokenRow } from "../inputs/tasks.js";

/** Accuracy and mean loss of a classifier over examples. */
export async function measureClassifier(
  engine: Engine,
  model: Model,
  rows: LabelledRows,
  tokenizer: Tokenizer,
  o: BatchOptions,
): Promise<{ accuracy: number; loss: number }> {
  const shape = [sym("batch"), sym("seq")];
  const f = await compileModel(
    engine,
    model,
    { tokens: { dtype: "i32", shape }, mask: { dtype: "f32", shape }, labels: { dtype: "i32", shape: [sym("batch")] } },
    ({ tokens, mask, labels }, params, at) => {
      const logits = at.forward(params, { tokens, mask }, { mode: "eval" }).logits!;
      return { loss: sum(crossEntropyPerItem(logits, labels)), right: sum(cast(equal(argMax(logits), labels), "f32")) };
    },
  );
  let [loss, right] = [0, 0];
  for (let at = 0; at < rows.texts.length; at += o.batchSize) {
    const { tokens, mask } = tokenizer.encodeBatch(rows.texts.slice(at, at + o.batchSize), { maxLength: o.maxLength });
    const labels: HostTensor = { dtype: "i32", shape: [tokens.shape[0]!], data: rows.labels.slice(at, at + o.batchSize) };
    const out = await f({ tokens, mask, labels });
    loss += out.loss.data[0] as number;
    right += out.right.data[0] as number;
  }
  await f.dispose();
  return { accuracy: right / rows.texts.length, loss: loss / rows.texts.length };
}

/** Mean loss per learned token, and the share of rows whose learned tokens all come first. */
export async function measureLanguage(
  engine: Engine,
  model: Model,
  rows: readonly TokenRow[],
  o: BatchOptions,
): Promise<{ loss: number; exactMatch: number }> {
  const shape = [sym("batch"), sym("seq")];
  const f = await compileModel(
    engine,
    model,
    { tokens: { dtype: "i32", shape }, weights: { dtype: "f32", shape } },
    ({ tokens, weights: all }, params, at) => {
      const seq = tokens.dim(1);
      const out = at.forward(params, { tokens }, { mode: "eval" });
      const logits = slice(slice(out.logits!, 1, out.prefix ?? 0, seq), 1, 0, dimSub(seq, 1));
      const next = slice(tokens, 1, 1, dimSub(seq, 1));
      const weights = slice(all, 1, 1, dimSub(seq, 1));
      const hits = sum(mul(cast(equal(argMax(logits), next), "f32"), weights), 1);
      return {
        loss: sum(mul(crossEntropyPerItem(logits, next), weights)),
        count: sum(weights),
        exact: sum(cast(greaterEqual(hits, sum(weights, 1)), "f32")),
      };
    },
  );
  let [loss, count, exact] = [0, 0, 0];
  for (let at = 0; at < rows.length; at += o.batchSize) {
    const out = await f(languageBatch(rows.slice(at, at + o.batchSize)));
    loss += out.loss.data[0] as number;
    count += out.count.data[0] as number;
    exact += out.exact.data[0] as number;
  }
  await f.dispose();
  return { loss: loss / Math.max(1, count), exactMatch: exact / rows.length };
}
