import { f32, i32 } from "@lfm/core";
import type { World } from "@lfm/data";
import type { Tokenizer } from "@lfm/formats";

/** The world's vocabulary as a tokenizer: one token per space-separated word, `<bos>` in front as the only special token. */
export function zooTokenizer(world: World): Tokenizer {
  const { vocabulary } = world;
  const special = new Set([vocabulary.pad, vocabulary.bos, vocabulary.eos]);
  const encode: Tokenizer["encode"] = (text, options = {}) => {
    const words = vocabulary.encode(options.pair === undefined ? text : `${text} ${options.pair}`);
    const ids = (options.addSpecialTokens ?? true) ? [vocabulary.bos, ...words] : words;
    return { ids, segments: ids.map(() => 0) };
  };
  return {
    vocabSize: vocabulary.size,
    specials: {
      pad: vocabulary.pad,
      bos: vocabulary.bos,
      eos: vocabulary.eos,
      unk: vocabulary.unk,
      cls: undefined,
      sep: undefined,
      mask: undefined,
    },
    encode,
    encodeBatch: (texts, options = {}) => {
      const rows = texts.map((t) => encode(t).ids.slice(0, options.maxLength ?? Number.POSITIVE_INFINITY));
      const seq = Math.max(1, ...rows.map((r) => r.length));
      const [tokens, mask] = [new Int32Array(rows.length * seq), new Float32Array(rows.length * seq)];
      for (const [i, row] of rows.entries()) {
        tokens.set(row, i * seq);
        mask.fill(1, i * seq, i * seq + row.length);
      }
      const shape = [rows.length, seq];
      return { tokens: i32(tokens, shape), mask: f32(mask, shape), segments: i32(new Int32Array(rows.length * seq), shape) };
    },
    decode: (ids, options = {}) => vocabulary.decode([...ids].filter((id) => !(options.skipSpecialTokens && special.has(id)))),
  };
}
