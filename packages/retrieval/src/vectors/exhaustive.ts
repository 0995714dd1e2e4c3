import type { RowSpace, Structure } from "./structure.js";

/** Every row is compared with every question. */
export function exhaustive({ memory, codec, codes, top, dimension }: RowSpace): Structure {
  let count = 0;
  return {
    get trained() {
      return codec.trained;
    },
    masks: false,
    train: (rows, rng) => codec.train(rows, rng),
    add: (rows, first) => {
      codec.encode(rows, codes, first);
      count = first + rows.length / dimension;
    },
    find: (query, k, { mask }) => {
      const question = codec.question(query);
      top.reserve(8 * k);
      memory.fn.openTop(top.at, k);
      memory.fn.scan(codec.kind, question, codes.at, codec.stride, codec.n, 0, count, mask);
      return memory.fn.sortTop();
    },
    keep: (kept) => {
      count = kept.length;
    },
    tensors: () => ({}),
    restore: (_file, rows) => {
      count = rows;
    },
  };
}
