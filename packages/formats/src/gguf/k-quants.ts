/**
 * The "K" types of ggml: 256 numbers in a block, in 8 or 16 groups whose scales are quantised themselves. Rounded once, as in block-quants.ts
 * (the longest product, of Q6_K, has 25 bits).
 */
import { smallFloatTable } from "@lfm/core";
import { type Dequantize, halfAt } from "./block-quants.js";

const BLOCK = 256;

/** 2 bits, 16 groups of 16 with 4-bit scales and minima: d·s·q − dmin·m. scales[16], quants[64], d, dmin */
export const dequantizeQ2K: Dequantize = (bytes, out) => {
  const halves = smallFloatTable("f16");
  for (let at = 0, to = 0; to < out.length; at += 84, to += BLOCK) {
    const [d, dmin] = [halfAt(halves, bytes, at + 80), halfAt(halves, bytes, at + 82)];
    for (let i = 0; i < BLOCK; i++) {
      const scale = bytes[at + (i >> 4)]!;
      const q = (bytes[at + 16 + (i >> 7) * 32 + (i & 31)]! >> (2 * ((i >> 5) & 3))) & 3;
      out[to + i] = d * (scale & 15) * q - dmin * (scale >> 4);
    }
  }
};

/** 3 bits, 16 groups of 16 with 6-bit scales: d·(s − 32)·(q − 4, or q where the high bit is set). high bits[32], quants[64], scales[12], d */
export const dequantizeQ3K: Dequantize = (bytes, out) => {
  const halves = smallFloatTable("f16");
  for (let at = 0, to = 0; to < out.length; at += 110, to += BLOCK) {
    const d = halfAt(halves, bytes, at + 108);
    for (let i = 0; i < BLOCK; i++) {
      const group = i >> 4;
      const low = (bytes[at + 96 + (group & 7)]! >> (4 * (group >> 3))) & 15;
      const high = (bytes[at + 104 + (group & 3)]! >> (2 * (group >> 2))) & 3;
      const q = (bytes[at + 32 + (i >> 7) * 32 + (i & 31)]! >> (2 * ((i >> 5) & 3))) & 3;
      const top = (bytes[at + (i & 31)]! >> (i >> 5)) & 1;
      out[to + i] = d * ((low | (high << 4)) - 32) * (q - (top ? 0 : 4));
    }
  }
};

/** Scale and minimum, 6 bits each, of one of the 8 groups whose 16 lie in 12 bytes: four whole, then four in parts. */
function scaleAndMin(bytes: Uint8Array, at: number, group: number): readonly [number, number] {
  const j = group & 3;
  const [s, m] = [bytes[at + j]!, bytes[at + 4 + j]!];
  if (group < 4) return [s & 63, m & 63];
  const both = bytes[at + 8 + j]!;
  return [(both & 15) | ((s >> 2) & 48), (both >> 4) | ((m >> 2) & 48)];
}

/** 4 bits, 8 groups of 32: d·s·q − dmin·m. d, dmin, scales[12], quants[128] */
export const dequantizeQ4K: Dequantize = (bytes, out) => {
  const halves = smallFloatTable("f16");
  for (let at = 0, to = 0; to < out.length; at += 144, to += BLOCK) {
    const [d, dmin] = [halfAt(halves, bytes, at), halfAt(halves, bytes, at + 2)];
    for (let group = 0; group < 8; group++) {
      const [s, m] = scaleAndMin(bytes, at + 4, group);
      for (let l = 0; l < 32; l++) {
        const q = (bytes[at + 16 + (group >> 1) * 32 + l]! >> (4 * (group & 1))) & 15;
        out[to + group * 32 + l] = d * s * q - dmin * m;
      }
    }
  }
};

/** 5 bits, 8 groups of 32: d·s·q − dmin·m. d, dmin, scales[12], high bits[32], quants[128] */
export const dequantizeQ5K: Dequantize = (bytes, out) => {
  const halves = smallFloatTable("f16");
  for (let at = 0, to = 0; to < out.length; at += 176, to += BLOCK) {
    const [d, dmin] = [halfAt(halves, bytes, at), halfAt(halves, bytes, at + 2)];
    for (let group = 0; group < 8; group++) {
      const [s, m] = scaleAndMin(bytes, at + 4, group);
      for (let l = 0; l < 32; l++) {
        const low = (bytes[at + 48 + (group >> 1) * 32 + l]! >> (4 * (group & 1))) & 15;
        const top = (bytes[at + 16 + l]! >> group) & 1;
        out[to + group * 32 + l] = d * s * (low | (top << 4)) - dmin * m;
      }
    }
  }
};

/** 6 bits, 16 groups of 16 with 8-bit scales: d·s·(q − 32). lower four[128], upper two[64], scales[16], d */
export const dequantizeQ6K: Dequantize = (bytes, out) => {
  const halves = smallFloatTable("f16");
  for (let at = 0, to = 0; to < out.length; at += 210, to += BLOCK) {
    const d = halfAt(halves, bytes, at + 208);
    for (let i = 0; i < BLOCK; i++) {
      const scale = (bytes[at + 192 + (i >> 4)]! << 24) >> 24;
      const low = (bytes[at + (i >> 7) * 64 + (i & 63)]! >> (4 * ((i >> 6) & 1))) & 15;
      const high = (bytes[at + 128 + (i >> 7) * 32 + (i & 31)]! >> (2 * ((i >> 5) & 3))) & 3;
      out[to + i] = d * scale * ((low | (high << 4)) - 32);
    }
  }
};
