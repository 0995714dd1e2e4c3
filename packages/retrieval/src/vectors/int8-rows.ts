import { type Codec, type CodecKind, type CodecSpace, rowKind, untrainedCodec } from "./codec.js";

/** Bytes before the numbers: f32 scale, f32 squared norm, 8 bytes of nothing. */
const HEAD = 16;

/**
 * "SQ8": a byte a number. Each vector x is kept as s·c, c = round(x / s) in −127 … 127, s = max |x| / 127; questions alike, so that products are those of
 * integers. (faiss's SQ8 learns a range for each dimension instead; here nothing is trained.)
 */
export const int8Rows: CodecKind = {
  pattern: /^SQ8$/i,
  create: (space: CodecSpace): Codec => {
    const { memory, dimension: d, metric } = space;
    const stride = HEAD + 16 * Math.ceil(d / 16);
    return untrainedCodec(space, {
      stride,
      kind: metric === "l2" ? rowKind.i8L2 : rowKind.i8Dot,
      write: (vectors, count, out) => memory.fn.quantize(vectors, count, d, out, stride),
      flaw: (rows) => {
        const view = new DataView(rows.buffer, rows.byteOffset, rows.byteLength);
        for (let at = 0; at < rows.byteLength; at += stride) {
          const [scale, norm] = [view.getFloat32(at, true), view.getFloat32(at + 4, true)];
          if (!(scale >= 0) || !Number.isFinite(scale) || !(norm >= 0) || !Number.isFinite(norm))
            return "the scale of a vector is not a number";
        }
        return undefined;
      },
    });
  },
};
