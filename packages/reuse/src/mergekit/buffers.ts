import { closeSync, openSync, readSync } from "node:fs";
import { bytesPerElement, sizeOf } from "@lfm/core";
import type { TensorSource } from "../merging/plan.js";

const STEP = 1 << 20;

/** The same type, shape and bytes; read a MiB at a time up to the first difference. */
export function isSameData(a: TensorSource, b: TensorSource): boolean {
  if (a.kind !== "stored" || b.kind !== "stored") return a === b;
  if (a.file === b.file && a.position === b.position) return true;
  if (a.dtype !== b.dtype || a.shape.join() !== b.shape.join()) return false;
  const [x, y] = [Buffer.alloc(STEP), Buffer.alloc(STEP)];
  const [fa, fb] = [openSync(a.file, "r"), openSync(b.file, "r")];
  try {
    const bytes = sizeOf(a.shape) * bytesPerElement[a.dtype];
    for (let at = 0; at < bytes; at += STEP) {
      const n = Math.min(STEP, bytes - at);
      readSync(fa, x, 0, n, a.position + at);
      readSync(fb, y, 0, n, b.position + at);
      if (!x.subarray(0, n).equals(y.subarray(0, n))) return false;
    }
    return true;
  } finally {
    closeSync(fa);
    closeSync(fb);
  }
}
