import { f32, i32, type Model, Rng } from "@lfm/core";
import { bert, initWeights } from "@lfm/models";
import { tokenClassificationTask } from "@lfm/train";
import type { ProbedExamples } from "../src/index.js";

const VOCABULARY = 24;
const config = {
  ...{
    vocab_size: VOCABULARY,
    hidden_size: 8,
    num_hidden_layers: 1,
    num_attention_heads: 2,
    intermediate_size: 8,
    max_position_embeddings: 8,
  },
  num_labels: 2,
  architectures: ["BertForSequenceClassification"],
};
const plain = bert(config);

/** A classifier of texts with weights that spread its answers. */
export const smallBert: Model = { ...plain, params: initWeights(plain.info, { seed: 4, std: 0.6 }) };

/** Random texts of five tokens. @param labelOf the class of each */
export function smallTexts(count: number, labelOf: (i: number) => number): ProbedExamples {
  const rng = new Rng(2);
  const batch = {
    tokens: i32(
      Array.from({ length: 5 * count }, () => rng.int(VOCABULARY)),
      [count, 5],
    ),
    mask: f32(new Float32Array(5 * count).fill(1), [count, 5]),
    labels: i32(Array.from({ length: count }, (_, i) => labelOf(i))),
  };
  return tokenClassificationTask("texts", () => batch, 1);
}
