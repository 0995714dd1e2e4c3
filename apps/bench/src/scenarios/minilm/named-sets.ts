import { constant, f32, type HostTensor, type Model, matmul, mul, type Outputs, type Tensor } from "@lfm/core";
import { type ClassificationSet, loadClassification } from "@lfm/data";
import { pool, unitLength } from "@lfm/models";
import { defineTask, type LearningTask, tokenClassification } from "@lfm/train";
import type { CellContext } from "../../scenario.js";
import {
  accuracy,
  BATCH,
  loadSentenceModel,
  realFolders,
  type SentenceModel,
  sentenceTask,
  sentenceVectors,
  similarLengthOrder,
  spread,
  type TokenRows,
  tokenRows,
} from "./sentence-model.js";

/** Factor of the cosines before the softmax, the one that all-MiniLM-L6-v2 was trained with. */
const SCALE = 20;

/** A set of sentences and its head: the vectors of the names of its classes under the encoder as it came. Nothing of the head is learned. */
export interface NamedSet {
  readonly name: ClassificationSet["name"];
  /** f32[classes, hidden], rows of length 1. */
  readonly head: HostTensor;
  readonly train: TokenRows;
  readonly validation: TokenRows;
  readonly test: TokenRows;
}

export interface SetSizes {
  /** Tokens per sentence, special ones included; longer ones are cut. */
  readonly maxLength: number;
  /** Sentences per set that settings are chosen on, and that are tested; default: the whole split. */
  readonly validation: number;
  readonly test?: number;
}

/** "BookRestaurant", "card_arrival" → "book restaurant", "card arrival". */
export const spoken = (label: string): string =>
  label
    .replace(/([a-z])([A-Z])/g, "$1 $2")
    .replaceAll("_", " ")
    .toLowerCase();

/** @throws {LfmError} FILE_IO, FILE_FORMAT, CAPABILITY_MISSING */
export function loadNamedSet(name: NamedSet["name"], sizes: SetSizes, context: CellContext): Promise<NamedSet> {
  return context.shared(`minilm/named/${name}/${JSON.stringify(sizes)}`, async () => {
    const { data } = realFolders(context);
    const { model, tokenizer } = await loadSentenceModel(context);
    const { labels, splits } = await loadClassification(name, { folder: data });
    const rows = (split: keyof typeof splits, most = Number.POSITIVE_INFINITY): TokenRows =>
      tokenRows(tokenizer, spread(splits[split], most), sizes.maxLength);
    const names = tokenRows(
      tokenizer,
      labels.map((label) => ({ text: spoken(label), label: 0 })),
      sizes.maxLength,
    );
    const vectors = await sentenceVectors(context, model, names.rows);
    const width = vectors[0]!.length;
    const head = new Float32Array(vectors.length * width);
    vectors.forEach((v, i) => {
      head.set(v, i * width);
    });
    return {
      name,
      head: f32(head, [vectors.length, width]),
      train: rows("train"),
      validation: rows("val", sizes.validation),
      test: rows("test", sizes.test),
    };
  });
}

const WORDS = "embeddings.word_embeddings.weight";

/** The encoder as it is tuned on named sets: its table of words, half of all parameters, stays as it came. */
export async function loadStillWorded(context: CellContext): Promise<Pick<SentenceModel, "model" | "hash">> {
  const { model, hash } = await loadSentenceModel(context);
  const { info } = model;
  return {
    model: { ...model, info: { ...info, params: { ...info.params, [WORDS]: { ...info.params[WORDS]!, trainable: false } } } },
    hash,
  };
}

/** f32[batch, classes]: cosines between sentences and names, scaled. vectors — f32[batch, hidden] */
export const nameLogits = (vectors: Tensor, { head }: Pick<NamedSet, "head">): Tensor =>
  mul(matmul(unitLength(vectors), constant(head), { transB: true }), SCALE);

/** {@link nameLogits} of what an encoder gives for tokens. */
const pooledLogits = (outputs: Outputs, mask: Tensor | undefined, set: Pick<NamedSet, "head">): Tensor =>
  nameLogits(pool(outputs, "mean", mask), set);

/**
 * Tells the classes of a set apart: a task, to learn or to probe, in epochs of batches of `batch` sentences of similar length.
 * `asked` collects the sentences that were looked at.
 */
export function namedTask(set: NamedSet, seed: number, batch = BATCH, asked?: Set<number>): LearningTask {
  return {
    ...sentenceTask(set.name, set.train, similarLengthOrder(set.train.rows, seed, batch), asked),
    ...defineTask({
      ...tokenClassification(set.name),
      scored: (outputs, { mask, labels }) => ({ logits: pooledLogits(outputs, mask, set), targets: labels! }),
    }),
  };
}

/** The encoder under the head of a set, as a classifier. */
export function withNames(encoder: Model, set: NamedSet): Model {
  return {
    info: { ...encoder.info, task: "classifier", classes: set.head.shape[0]! },
    params: encoder.params,
    forward: (params, input, asked) => {
      const out = encoder.forward(params, input, asked);
      return { ...out, logits: pooledLogits(out, input.mask, set) };
    },
  };
}

/** Accuracy on each set of the model that answers for it. */
export async function accuracies(
  context: CellContext,
  sets: readonly NamedSet[],
  split: "validation" | "test",
  answer: (set: NamedSet) => Model | Promise<Model>,
): Promise<number[]> {
  const found: number[] = [];
  for (const set of sets) found.push(await accuracy(context, await answer(set), set[split]));
  return found;
}
