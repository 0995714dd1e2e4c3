/**
 * The types of ggml with 32 numbers in a block, and plain floats. Every product of a scale and a quant is exact in f64, and what is stored is
 * rounded once, as the f32 arithmetic of the `gguf` Python package rounds: values are equal to its bit for bit.
 */
import { smallFloatTable } from "@lfm/core";

/** Widens whole blocks to f32: as many as `out` holds. */
export type Dequantize = (bytes: Uint8Array, out: Float32Array) => void;

const BLOCK = 32;

/** A half in front of others: little-endian, at any byte. */
export function halfAt(halves: Float32Array, bytes: Uint8Array, at: number): number {
  return halves[bytes[at]! | (bytes[at + 1]! << 8)]!;
}

export const dequantizeF32: Dequantize = (bytes, out) => {
  new Uint8Array(out.buffer, out.byteOffset, out.byteLength).set(bytes.subarray(0, out.byteLength));
};

export const dequantizeHalf: Dequantize = (bytes, out) => {
  const halves = smallFloatTable("f16");
  for (let i = 0; i < out.length; i++) out[i] = halfAt(halves, bytes, 2 * i);
};

/** bf16: the upper half of an f32. */
export const dequantizeUpper: Dequantize = (bytes, out) => {
  const words = new Uint32Array(out.buffer, out.byteOffset, out.length);
  for (let i = 0; i < words.length; i++) words[i] = (bytes[2 * i]! << 16) | (bytes[2 * i + 1]! << 24);
};

/** 4 bits: d·(q − 8), or with a minimum d·q + m. The first 16 lie in the lower halves of the bytes, the others in the upper. */
export function dequantizeQ4({ min }: { readonly min: boolean }): Dequantize {
  const head = min ? 4 : 2;
  return (bytes, out) => {
    const halves = smallFloatTable("f16");
    for (let at = 0, to = 0; to < out.length; at += head + BLOCK / 2, to += BLOCK) {
      const d = halfAt(halves, bytes, at);
      const m = min ? halfAt(halves, bytes, at + 2) : 0;
      for (let l = 0; l < BLOCK / 2; l++) {
        const q = bytes[at + head + l]!;
        const [low, high] = [q & 15, q >> 4];
        out[to + l] = min ? d * low + m : d * (low - 8);
        out[to + BLOCK / 2 + l] = min ? d * high + m : d * (high - 8);
      }
    }
  };
}

/** 5 bits: four as in {@link dequantizeQ4}, the fifth of all 32 in a word before them. d·(q − 16), or d·q + m. */
export function dequantizeQ5({ min }: { readonly min: boolean }): Dequantize {
  const head = min ? 4 : 2;
  return (bytes, out) => {
    const halves = smallFloatTable("f16");
    for (let at = 0, to = 0; to < out.length; at += head + 4 + BLOCK / 2, to += BLOCK) {
      const d = halfAt(halves, bytes, at);
      const m = min ? halfAt(halves, bytes, at + 2) : 0;
      for (let l = 0; l < BLOCK; l++) {
        const packed = bytes[at + head + 4 + (l % 16)]!;
        const fifth = (bytes[at + head + (l >> 3)]! >> (l & 7)) & 1;
        const q = (l < 16 ? packed & 15 : packed >> 4) | (fifth << 4);
        out[to + l] = min ? d * q + m : d * (q - 16);
      }
    }
  };
}

/** 8 bits with their sign: d·q. */
export const dequantizeQ8: Dequantize = (bytes, out) => {
  const halves = smallFloatTable("f16");
  for (let at = 0, to = 0; to < out.length; at += 2 + BLOCK, to += BLOCK) {
    const d = halfAt(halves, bytes, at);
    for (let l = 0; l < BLOCK; l++) out[to + l] = d * ((bytes[at + 2 + l]! << 24) >> 24);
  }
};
