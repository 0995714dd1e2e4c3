import { type Codec, type CodecKind, type CodecSpace, rowKind, untrainedCodec } from "./codec.js";

/**
 * "LSH": one bit a number, its sign, as faiss's IndexLSH without rotation. The score of two rows is 1 − 2·(unequal signs)/d whatever the metric is: an
 * order for rescoring, no similarity.
 */
export const signRows: CodecKind = {
  pattern: /^LSH$/i,
  create: (space: CodecSpace): Codec => {
    const { memory, dimension: d } = space;
    const stride = Math.ceil(d / 8);
    return untrainedCodec(space, {
      stride,
      kind: rowKind.bits,
      write: (vectors, count, out) => memory.fn.signs(vectors, count, d, out, stride),
      flaw: (rows) => {
        const free = 8 * stride - d;
        for (let at = stride - 1; free > 0 && at < rows.length; at += stride)
          if (rows[at]! >> (8 - free) !== 0) return "a vector has too many bits";
        return undefined;
      },
    });
  },
};
