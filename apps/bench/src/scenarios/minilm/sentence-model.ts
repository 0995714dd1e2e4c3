import { join } from "node:path";
import { i32, LfmError, type Model, padRows, Rng } from "@lfm/core";
import type { Tokenizer } from "@lfm/formats";
import { bert, createPredictor, loadModel } from "@lfm/models";
import { type LearningTask, tokenClassificationTask } from "@lfm/train";
import type { CellContext } from "../../scenario.js";

export const MINILM = "all-MiniLM-L6-v2";
export const BATCH = 32;

/** An encoder without the pooler that its sentence vectors, means over tokens, never read. */
export interface SentenceModel {
  readonly model: Model;
  readonly tokenizer: Tokenizer;
  readonly hash: string;
}

/** Where real data and models lie. @throws {LfmError} CAPABILITY_MISSING */
export function realFolders(context: Pick<CellContext, "folders">): { readonly data: string; readonly models: string } {
  const { data, models } = context.folders;
  if (data !== undefined && models !== undefined) return { data, models };
  throw new LfmError("CAPABILITY_MISSING", "[@lfm/bench] this scenario needs real data and a model", {
    hint: "set LFM_DATA and LFM_MODELS",
  });
}

/** all-MiniLM-L6-v2, once per run. @throws {LfmError} FILE_IO, CAPABILITY_MISSING */
export function loadSentenceModel(context: Pick<CellContext, "folders" | "shared">): Promise<SentenceModel> {
  const folder = join(realFolders(context).models, MINILM);
  return context.shared(`minilm/${folder}`, async () => {
    const { model, tokenizer, config, hash } = await loadModel(folder);
    if (!tokenizer) throw new LfmError("CAPABILITY_MISSING", `[@lfm/bench] ${folder} has no tokenizer`);
    const kept = Object.fromEntries(Object.entries(model.params).filter(([name]) => !name.startsWith("pooler.")));
    // Without dropout, as the peer trains: what the methods differ in is not hidden by it.
    const still = { ...config, hidden_dropout_prob: 0, attention_probs_dropout_prob: 0 };
    return { model: bert({ ...still, model_type: "bert", add_pooling_layer: false }, kept), tokenizer, hash: await hash() };
  });
}

/** Token rows with their classes. */
export interface TokenRows {
  readonly rows: readonly (readonly number[])[];
  readonly labels: readonly number[];
}

/** Tokens of sentences, special ones included, cut to `maxLength`. */
export function tokenRows(
  tokenizer: Tokenizer,
  sentences: readonly { readonly text: string; readonly label: number }[],
  maxLength: number,
): TokenRows {
  const { sep } = tokenizer.specials;
  const rows = sentences.map(({ text }) => {
    const { ids } = tokenizer.encode(text);
    const row = Array.from(ids);
    return row.length <= maxLength || sep === undefined ? row.slice(0, maxLength) : [...row.slice(0, maxLength - 1), sep];
  });
  return { rows, labels: sentences.map((s) => s.label) };
}

/** At most `most` items, evenly spread over the list: the same ones for every method and seed. */
export function spread<T>(items: readonly T[], most: number): readonly T[] {
  if (items.length <= most) return items;
  return Array.from({ length: most }, (_, i) => items[Math.floor((i * items.length) / most)]!);
}

/** Examples of every step: whole epochs, each in an order of its own, cut into batches. */
export function epochOrder(examples: number, seed: number, batch = BATCH): (step: number) => readonly number[] {
  const orders = new Map<number, readonly number[]>();
  const order = (epoch: number): readonly number[] => {
    const known = orders.get(epoch);
    if (known) return known;
    const fresh = new Rng(seed).split(`epoch ${epoch}`).shuffle(Array.from({ length: examples }, (_, i) => i));
    orders.set(epoch, fresh);
    return fresh;
  };
  return (step) =>
    Array.from({ length: batch }, (_, i) => {
      const at = step * batch + i;
      return order(Math.floor(at / examples))[at % examples]!;
    });
}

/** Batches that are sorted by length together. */
const POOL = 16;

/** As {@link epochOrder}, the sentences of a batch of similar length, so that little is computed on padding. */
export function similarLengthOrder(rows: TokenRows["rows"], seed: number, batch = BATCH): (step: number) => readonly number[] {
  const order = epochOrder(rows.length, seed, batch);
  const pools = new Map<number, readonly (readonly number[])[]>();
  const pool = (number: number): readonly (readonly number[])[] => {
    const known = pools.get(number);
    if (known) return known;
    const all = Array.from({ length: POOL }, (_, i) => order(number * POOL + i)).flat();
    const sorted = all.sort((a, b) => rows[a]!.length - rows[b]!.length);
    const batches = Array.from({ length: POOL }, (_, i) => sorted.slice(i * batch, (i + 1) * batch));
    const fresh = new Rng(seed).split(`pool ${number}`).shuffle(batches);
    pools.set(number, fresh);
    return fresh;
  };
  return (step) => pool(Math.floor(step / POOL))[step % POOL]!;
}

/** Classification of sentences, the examples of every step in a given order. `asked` collects those that were looked at. */
export function sentenceTask(
  name: string,
  train: TokenRows,
  order: (step: number) => readonly number[],
  asked: Set<number> = new Set(),
): LearningTask {
  return tokenClassificationTask(name, (step) => {
    const chosen = order(step);
    for (const i of chosen) asked.add(i);
    return { ...padRows(chosen.map((i) => train.rows[i]!)), labels: i32(chosen.map((i) => train.labels[i]!)) };
  });
}

type Runtime = Pick<CellContext, "engine" | "signal">;

/** Share of sentences whose largest logit is at their class. */
export async function accuracy({ engine, signal }: Runtime, model: Model, { rows, labels }: TokenRows): Promise<number> {
  const predictor = await createPredictor(engine, model, "logits", { batchSize: 64 });
  try {
    const answers = await predictor.predict(rows, signal);
    const right = answers.filter(({ data }, i) => (data as Float32Array).indexOf(Math.max(...(data as Float32Array))) === labels[i]);
    return right.length / rows.length;
  } finally {
    await predictor.dispose();
  }
}

/** Means over the tokens of every sentence; brought to length 1 unless told otherwise. */
export async function sentenceVectors(
  { engine, signal }: Runtime,
  model: Model,
  rows: readonly (readonly number[])[],
  options: { readonly unitLength?: boolean } = {},
): Promise<readonly Float32Array[]> {
  const predictor = await createPredictor(engine, model, "mean", { batchSize: 64 });
  try {
    const vectors = (await predictor.predict(rows, signal)).map((t) => t.data as Float32Array);
    return (options.unitLength ?? true) ? vectors.map(unit) : vectors;
  } finally {
    await predictor.dispose();
  }
}

function unit(vector: Float32Array): Float32Array {
  const length = Math.hypot(...vector);
  return vector.map((v) => v / Math.max(length, 1e-12));
}

/** Share of `test` sentences that lie nearest, by cosine, to the mean vector of the `shown` sentences of their own class. */
export async function nearestMeanAccuracy(runtime: Runtime, model: Model, shown: TokenRows, test: TokenRows): Promise<number> {
  const vectors = await sentenceVectors(runtime, model, [...shown.rows, ...test.rows]);
  const d = vectors[0]!.length;
  const means = Array.from({ length: 1 + Math.max(...shown.labels) }, () => new Float32Array(d));
  shown.labels.forEach((label, i) => {
    const mean = means[label]!;
    vectors[i]!.forEach((v, j) => {
      mean[j] = mean[j]! + v;
    });
  });
  const directions = means.map(unit);
  const right = test.labels.filter((label, i) => {
    const vector = vectors[shown.rows.length + i]!;
    const cosines = directions.map((m) => m.reduce((sum, v, j) => sum + v * vector[j]!, 0));
    return cosines.indexOf(Math.max(...cosines)) === label;
  });
  return right.length / test.labels.length;
}
