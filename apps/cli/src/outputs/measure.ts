import {
  argMax,
  cast,
  compileModel,
  crossEntropyPerItem,
  dimSub,
  type Engine,
  equal,
  greaterEqual,
  type Model,
  mul,
  slice,
  sum,
} from "@lfm/core";
import type { Tokenizer } from "@lfm/formats";
import { languageModeling, tokenInput, tokenSpec } from "@lfm/train";
import {
  type AnsweredRows,
  type BatchOptions,
  type Goal,
  inOrder,
  type LabelledRows,
  languageBatch,
  predictedRows,
  requireReadable,
  type TextRows,
  type TokenRow,
  textBatch,
} from "@lfm/tuning";
import { choiceHits, choiceTokens } from "./choices.js";
import { type ClassScores, classTables, scoreClasses } from "./class-scores.js";
import { mean, meanError } from "./uncertain.js";
import { scoreValues } from "./value-scores.js";

/** Figures of a model on examples, each with its standard error. */
export interface Measured {
  readonly metrics: Readonly<Record<string, number>>;
  readonly standardErrors: Readonly<Record<string, number>>;
  /** Of classifiers. */
  readonly scores?: ClassScores;
}

/** What a head answers to rows, row after row. */
export interface Answers {
  /** f32[rows · outputs] */
  readonly logits: Float32Array;
  readonly outputs: number;
}

/** Lets an encoder with a head answer rows. */
export async function answersTo(
  engine: Engine,
  model: Model,
  rows: TextRows,
  tokenizer: Tokenizer,
  { batchSize, maxLength }: Pick<BatchOptions, "batchSize" | "maxLength">,
): Promise<Answers> {
  requireReadable(rows, tokenizer);
  const pairs = { pairs: rows.pairs !== undefined };
  const input = tokenInput(pairs);
  const f = await compileModel(engine, model, tokenSpec(pairs), (batch, params, at) => ({
    logits: at.forward(params, input(batch), { mode: "eval" }).logits!,
  }));
  const { batch, perEpoch } = inOrder(rows.texts.length, batchSize);
  const found: number[] = [];
  let outputs = 0;
  for (let n = 0; n < perEpoch; n++) {
    const { logits } = await f({ ...textBatch(rows, batch(n), tokenizer, maxLength) });
    outputs = logits.shape[1]!;
    for (const value of logits.data) found.push(Number(value));
  }
  await f.dispose();
  return { logits: Float32Array.from(found), outputs };
}

/** The class of the largest logit of each row; the first of equal ones. */
export function classesOf({ logits, outputs }: Answers): Int32Array {
  return Int32Array.from({ length: logits.length / outputs }, (_, i) => {
    let best = i * outputs;
    for (let k = best + 1; k < (i + 1) * outputs; k++) if (logits[k]! > logits[best]!) best = k;
    return best - i * outputs;
  });
}

/** log p of one class of a row. */
export function logProbability({ logits, outputs }: Answers, row: number, k: number): number {
  const own = logits.subarray(row * outputs, (row + 1) * outputs);
  const most = own.reduce((a, b) => Math.max(a, b), Number.NEGATIVE_INFINITY);
  return own[k]! - most - Math.log(own.reduce((total, x) => total + Math.exp(x - most), 0));
}

/** Accuracy and mean loss of a classifier over examples. */
export async function measureClassifier(
  engine: Engine,
  model: Model,
  rows: LabelledRows,
  tokenizer: Tokenizer,
  o: BatchOptions,
): Promise<{ accuracy: number; loss: number }> {
  const { right, losses } = grade(await answersTo(engine, model, rows, tokenizer, o), rows.labels);
  return { accuracy: mean(right), loss: mean(losses) };
}

/** Everything that is measured of an encoder with a head. */
export async function measureAnswers(
  engine: Engine,
  model: Model,
  rows: AnsweredRows,
  goal: Goal,
  tokenizer: Tokenizer,
  o: BatchOptions,
): Promise<Measured> {
  const answers = await answersTo(engine, model, rows, tokenizer, o);
  if (!("labels" in rows)) {
    const { scores, errors } = scoreValues(rows.values, answers.logits);
    return { metrics: { ...scores }, standardErrors: { ...errors } };
  }
  const { right, losses } = grade(answers, rows.labels);
  const scores = scoreClasses(goal.kind === "classes" ? goal.names : [], rows.labels, classesOf(answers));
  return {
    metrics: { accuracy: mean(right), loss: mean(losses), macroF1: scores.macroF1 },
    standardErrors: { accuracy: meanError(right), loss: meanError(losses), macroF1: scores.macroF1Error },
    scores,
  };
}

/** What is said of a model that gives one class to all. */
export function oneClassWarning({ onlyClass }: ClassScores): string | undefined {
  return onlyClass === undefined ? undefined : `⚠ every example is given one class, "${onlyClass}": nothing is told apart`;
}

/** Figures as lines: with their standard errors, and of classes one by one. */
export function saidOf({ metrics, standardErrors, scores }: Measured): readonly string[] {
  const figures = Object.entries(metrics).map(([name, value]) => {
    const error = standardErrors[name];
    return `${name} ${value.toFixed(4)}${error === undefined ? "" : ` ± ${error.toFixed(4)}`}`;
  });
  const warning = scores && oneClassWarning(scores);
  return [figures.join(", "), ...(warning ? [warning] : []), ...(scores ? classTables(scores).flatMap((table) => ["", table]) : [])];
}

function grade(answers: Answers, labels: Int32Array): { readonly right: Float64Array; readonly losses: Float64Array } {
  const given = classesOf(answers);
  return {
    right: Float64Array.from(given, (k, i) => (k === labels[i] ? 1 : 0)),
    losses: Float64Array.from(labels, (k, i) => -logProbability(answers, i, k)),
  };
}

/**
 * Mean loss per learned token, and the share of rows whose learned tokens all come first; where the answers of all rows are a few, also the share of
 * rows whose answer begins with the most likely token of theirs.
 */
export async function measureLanguage(
  engine: Engine,
  model: Model,
  rows: readonly TokenRow[],
  o: BatchOptions,
): Promise<Measured & { readonly metrics: { readonly loss: number; readonly exactMatch: number } }> {
  const choices = choiceTokens(rows);
  const shape = languageModeling("examples", predictedRows(rows));
  const { scored: _all, ...read } = shape.batch;
  const f = await compileModel(engine, model, read, (given, params, at) => {
    const [tokens, all] = [given.tokens!, given.weights!];
    const seq = tokens.dim(1);
    const out = at.forward(params, shape.input(given), { mode: "eval" });
    const logits = slice(slice(out.logits!, 1, out.prefix ?? 0, seq), 1, 0, dimSub(seq, 1));
    const next = slice(tokens, 1, 1, dimSub(seq, 1));
    const weights = slice(all, 1, 1, dimSub(seq, 1));
    const hits = sum(mul(cast(equal(argMax(logits), next), "f32"), weights), 1);
    return {
      loss: sum(mul(crossEntropyPerItem(logits, next), weights), 1),
      count: sum(weights, 1),
      exact: cast(greaterEqual(hits, sum(weights, 1)), "f32"),
      choice: choices ? choiceHits(logits, next, weights, choices) : sum(weights, 1),
    };
  });
  const of: Record<"loss" | "count" | "exact" | "choice", number[]> = { loss: [], count: [], exact: [], choice: [] };
  const { batch, perEpoch } = inOrder(rows.length, o.batchSize);
  for (let n = 0; n < perEpoch; n++) {
    const out = await f({ ...languageBatch(batch(n).map((i) => rows[i]!)) });
    for (const name of ["loss", "count", "exact", "choice"] as const) of[name].push(...Array.from(out[name].data, Number));
  }
  await f.dispose();
  const tokens = of.count.reduce((a, b) => a + b, 0);
  const loss = of.loss.reduce((a, b) => a + b, 0) / Math.max(1, tokens);
  // Rows count by their tokens: the error of a ratio of two sums over rows.
  const residuals = of.loss.map((l, i) => ((l - loss * of.count[i]!) * rows.length) / Math.max(1, tokens));
  return {
    metrics: { loss, exactMatch: mean(of.exact), ...(choices ? { choiceAccuracy: mean(of.choice) } : {}) },
    standardErrors: {
      loss: meanError(residuals),
      exactMatch: meanError(of.exact),
      ...(choices ? { choiceAccuracy: meanError(of.choice) } : {}),
    },
  };
}
