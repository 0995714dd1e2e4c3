import { addInnerProducts, matrix, symmetricEigen } from "@lfm/core/linalg";

/** How many directions a set of keys spans: where there are as many as the layer is wide, the next edit finds no direction of its own. */
export interface KeyRank {
  /** Numbers in a key. */
  readonly width: number;
  /** Keys whose directions can be told apart in f32: singular values above the largest · max(count, width) · 2⁻²³, as NumPy counts a rank. */
  readonly rank: number;
  /** e to the entropy of the singular values' shares (Roy & Vetterli 2007): directions, each by how much it is used. */
  readonly effective: number;
}

const EPSILON = 2 ** -23;

/** @param keys f32[count, width], a row each; at least one */
export function rankOfKeys(keys: Float32Array, count: number, width: number): KeyRank {
  const gram = new Float64Array(count * count);
  addInnerProducts(gram, count, { rows: keys, width }, { rows: keys, width });
  const singular = Array.from(symmetricEigen(matrix(count, count, gram)).values, (v) => Math.sqrt(Math.max(0, v)));
  const [largest = 0] = singular;
  const limit = largest * Math.max(count, width) * EPSILON;
  const counted = singular.filter((s) => s > limit);
  const total = counted.reduce((a, b) => a + b, 0);
  const entropy = counted.reduce((sum, s) => sum - (s / total) * Math.log(s / total), 0);
  return { width, rank: counted.length, effective: total === 0 ? 0 : Math.exp(entropy) };
}
