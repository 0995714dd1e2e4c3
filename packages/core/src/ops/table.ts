import type { OpDef } from "../tensor.js";
import * as activations from "./activations.js";
import * as blockWeights from "./block-weights.js";
import * as causalAttention from "./causal-attention.js";
import * as conv from "./conv.js";
import * as crossEntropy from "./cross-entropy.js";
import * as elementwise from "./elementwise.js";
import * as index from "./index-ops.js";
import * as inverse from "./inverse.js";
import * as matmul from "./matmul.js";
import * as movement from "./movement.js";
import * as norm from "./norm.js";
import * as quantized from "./quantized.js";
import * as random from "./random.js";
import * as recompute from "./recompute.js";
import * as reduce from "./reduce.js";
import * as rotary from "./rotary.js";

const families: Readonly<Record<string, Readonly<Record<string, unknown>>>> = {
  elementwise,
  activations,
  matmul,
  reduce,
  movement,
  index,
  norm,
  attention: causalAttention,
  rotary,
  loss: crossEntropy,
  conv,
  quantized,
  blockWeights,
  inverse,
  random,
  recompute,
};

/** Every primitive by family: the exports named `…Op`. A new op is one entry in its family's file. */
export const opTable: Readonly<Record<string, readonly OpDef[]>> = Object.fromEntries(
  Object.entries(families).map(([family, exports]) => [
    family,
    Object.entries(exports)
      .filter(([name]) => name.endsWith("Op"))
      .map(([, op]) => op as OpDef),
  ]),
);
