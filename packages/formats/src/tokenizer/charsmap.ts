import { LfmError } from "@lfm/core";

/** Graphemes of so many bytes and more are not looked up as a whole. */
const LONG_GRAPHEME = 6;

/**
 * How SentencePiece rewrites characters before it splits a text: a map from strings to strings, compiled into a double-array trie. Done as the
 * tokenizers library does it ("Precompiled"): short graphemes first, then characters, each by the shortest entry that it begins with.
 * @param base64 length of the trie in bytes, u32; the trie, u32 units; the replacements in UTF-8, each ended by a zero byte
 * @throws {LfmError} FILE_FORMAT
 */
export function rewriter(base64: string): (text: string) => string {
  const bytes = Buffer.from(base64, "base64");
  const size = bytes.length < 4 ? -1 : bytes.readUInt32LE(0);
  if (size < 0 || size % 4 !== 0 || 4 + size > bytes.length)
    throw new LfmError("FILE_FORMAT", "[@lfm/formats] the tokenizer's map of characters is cut short");
  const units = Uint32Array.from({ length: size / 4 }, (_, i) => bytes.readUInt32LE(4 + 4 * i));
  const replacements = bytes.subarray(4 + size);
  const segmenter = new Intl.Segmenter(undefined, { granularity: "grapheme" });
  const encoder = new TextEncoder();
  const replace = (chunk: Uint8Array): string | undefined => {
    const at = shortestPrefix(units, chunk);
    return at === undefined ? undefined : replacements.toString("utf8", at, replacements.indexOf(0, at));
  };
  return (text) => {
    let out = "";
    for (const { segment } of segmenter.segment(text)) {
      const whole = encoder.encode(segment);
      const rewritten = whole.length < LONG_GRAPHEME ? replace(whole) : undefined;
      if (rewritten !== undefined) out += rewritten;
      else for (const character of segment) out += replace(encoder.encode(character)) ?? character;
    }
    return out;
  };
}

/** Value of the shortest key that `chunk` begins with, in a trie as Darts writes it; undefined for none, or a broken trie. */
function shortestPrefix(units: Uint32Array, chunk: Uint8Array): number | undefined {
  let at = childrenOf(units[0] ?? 0);
  for (const byte of chunk) {
    if (byte === 0) return undefined;
    at ^= byte;
    const unit = units[at];
    if (unit === undefined || (unit & 0x800000ff) >>> 0 !== byte) return undefined;
    at ^= childrenOf(unit);
    if (((unit >>> 8) & 1) === 1) return (units[at] ?? 0) & 0x7fffffff;
  }
  return undefined;
}

function childrenOf(unit: number): number {
  return (unit >>> 10) << ((unit & 0x200) >>> 6);
}
