import {
  type Dequantize,
  dequantizeF32,
  dequantizeHalf,
  dequantizeQ4,
  dequantizeQ5,
  dequantizeQ8,
  dequantizeUpper,
} from "./block-quants.js";
import { dequantizeQ2K, dequantizeQ3K, dequantizeQ4K, dequantizeQ5K, dequantizeQ6K } from "./k-quants.js";

/** How numbers of one type lie in a GGUF file. */
export interface GgmlType {
  readonly name: string;
  /** Elements of a block; rows hold whole blocks. */
  readonly elements: number;
  /** Bytes of a block. */
  readonly bytes: number;
  /** Missing where the type is known by its size only. */
  readonly dequantize?: Dequantize;
}

/**
 * Types by their number in a file, as in ggml.h (github.com/ggml-org/ggml). What has no `dequantize` can be measured and skipped, and is refused by
 * name when its numbers are asked for. 4 and 5 (Q4_2, Q4_3) and 31 to 33, 36 to 38 were given up.
 */
export const ggmlTypes: ReadonlyMap<number, GgmlType> = new Map([
  [0, { name: "F32", elements: 1, bytes: 4, dequantize: dequantizeF32 }],
  [1, { name: "F16", elements: 1, bytes: 2, dequantize: dequantizeHalf }],
  [2, { name: "Q4_0", elements: 32, bytes: 18, dequantize: dequantizeQ4({ min: false }) }],
  [3, { name: "Q4_1", elements: 32, bytes: 20, dequantize: dequantizeQ4({ min: true }) }],
  [6, { name: "Q5_0", elements: 32, bytes: 22, dequantize: dequantizeQ5({ min: false }) }],
  [7, { name: "Q5_1", elements: 32, bytes: 24, dequantize: dequantizeQ5({ min: true }) }],
  [8, { name: "Q8_0", elements: 32, bytes: 34, dequantize: dequantizeQ8 }],
  [9, { name: "Q8_1", elements: 32, bytes: 40 }],
  [10, { name: "Q2_K", elements: 256, bytes: 84, dequantize: dequantizeQ2K }],
  [11, { name: "Q3_K", elements: 256, bytes: 110, dequantize: dequantizeQ3K }],
  [12, { name: "Q4_K", elements: 256, bytes: 144, dequantize: dequantizeQ4K }],
  [13, { name: "Q5_K", elements: 256, bytes: 176, dequantize: dequantizeQ5K }],
  [14, { name: "Q6_K", elements: 256, bytes: 210, dequantize: dequantizeQ6K }],
  [15, { name: "Q8_K", elements: 256, bytes: 292 }],
  [16, { name: "IQ2_XXS", elements: 256, bytes: 66 }],
  [17, { name: "IQ2_XS", elements: 256, bytes: 74 }],
  [18, { name: "IQ3_XXS", elements: 256, bytes: 98 }],
  [19, { name: "IQ1_S", elements: 256, bytes: 50 }],
  [20, { name: "IQ4_NL", elements: 32, bytes: 18 }],
  [21, { name: "IQ3_S", elements: 256, bytes: 110 }],
  [22, { name: "IQ2_S", elements: 256, bytes: 82 }],
  [23, { name: "IQ4_XS", elements: 256, bytes: 136 }],
  [24, { name: "I8", elements: 1, bytes: 1 }],
  [25, { name: "I16", elements: 1, bytes: 2 }],
  [26, { name: "I32", elements: 1, bytes: 4 }],
  [27, { name: "I64", elements: 1, bytes: 8 }],
  [28, { name: "F64", elements: 1, bytes: 8 }],
  [29, { name: "IQ1_M", elements: 256, bytes: 56 }],
  [30, { name: "BF16", elements: 1, bytes: 2, dequantize: dequantizeUpper }],
  [34, { name: "TQ1_0", elements: 256, bytes: 54 }],
  [35, { name: "TQ2_0", elements: 256, bytes: 66 }],
  [39, { name: "MXFP4", elements: 32, bytes: 17 }],
]);
