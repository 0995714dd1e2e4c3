import { type Codec, type CodecKind, type CodecSpace, rowKind } from "./codec.js";
import { Area } from "./vector-memory.js";

/**
 * "LSH": one bit a number, its sign, as faiss's IndexLSH without rotation. The score of two rows is 1 − 2·(unequal signs)/d whatever the metric is: an
 * order for rescoring, no similarity.
 */
export const signRows: CodecKind = {
  pattern: /^LSH$/i,
  create: ({ memory, dimension: d }: CodecSpace): Codec => {
    const stride = Math.ceil(d / 8);
    const vectors = new Area(memory);
    const asked = new Area(memory);
    const signs = (rows: Float32Array, out: number): void => {
      vectors.f32(rows.length).set(rows);
      memory.fn.signs(vectors.at, rows.length / d, d, out, stride);
    };
    return {
      stride,
      kind: rowKind.bits,
      n: d,
      plain: false,
      symmetric: true,
      residual: false,
      trained: true,
      train: () => {},
      encode: (rows, into, first) => {
        vectors.reserve(4 * rows.length);
        signs(rows, into.at + first * stride);
      },
      question: (query) => {
        asked.reserve(stride);
        vectors.reserve(4 * d);
        signs(query, asked.at);
        return asked.at;
      },
      learned: () => ({}),
      restore: () => {},
      flaw: (rows) => {
        const free = 8 * stride - d;
        for (let at = stride - 1; free > 0 && at < rows.length; at += stride)
          if (rows[at]! >> (8 - free) !== 0) return "a vector has too many bits";
        return undefined;
      },
    };
  },
};
