import { type Codec, type CodecKind, type CodecSpace, rowKind } from "./codec.js";
import { Area } from "./vector-memory.js";

/** "Flat": vectors as they are, 4 bytes a number. */
export const f32Rows: CodecKind = {
  pattern: /^Flat$/i,
  create: ({ memory, dimension: d, metric }: CodecSpace): Codec => {
    const asked = new Area(memory);
    return {
      stride: 4 * d,
      kind: metric === "l2" ? rowKind.f32L2 : rowKind.f32Dot,
      n: d,
      plain: true,
      symmetric: true,
      residual: false,
      trained: true,
      train: () => {},
      encode: (rows, into, first) => {
        into.f32(first * d + rows.length).set(rows, first * d);
      },
      question: (query) => {
        asked.reserve(4 * d);
        asked.f32(d).set(query);
        return asked.at;
      },
      learned: () => ({}),
      restore: () => {},
      flaw: (rows) =>
        new Float32Array(rows.buffer, rows.byteOffset, rows.byteLength / 4).every(Number.isFinite)
          ? undefined
          : "a vector has values that are not finite",
    };
  },
};
