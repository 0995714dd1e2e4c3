import type { CodecKind } from "./codec.js";
import { f32Rows } from "./f32-rows.js";
import { int8Rows } from "./int8-rows.js";
import { productRows } from "./product-rows.js";
import { signRows } from "./sign-rows.js";

/** Every way of keeping vectors. A new one is a file, a test, and a line here. */
export const codecKinds: readonly CodecKind[] = [f32Rows, int8Rows, signRows, productRows];
