import { convertFloat, f32, type HostTensor, hostTensor } from "@lfm/core";
import { mostLikely } from "@lfm/models";

/** How exactly answers are kept. */
export interface Exactness {
  /** Largest logits of each position that are kept. Absent: all of them. */
  readonly topK?: number | undefined;
  /** f16 keeps what each logit lies below the largest; f32 logits as they are. */
  readonly dtype: "f16" | "f32";
}

/** Logits of one row of a batch: f32[positions, classes]. */
export type ToldRow = HostTensor;

const keptOf = ({ topK }: Exactness, classes: number): number => Math.min(topK ?? classes, classes);

/** What is left of the probability where rounding leaves nothing: its logit stays finite, in f16 too. */
const SMALLEST = 1e-12;

/** Bytes of the logits of so many positions. */
export function bytesOf(how: Exactness, positions: number, classes: number): number {
  const kept = keptOf(how, classes);
  const each = how.dtype === "f16" ? 2 : 4;
  return positions * (kept < classes ? kept * (each + 4) + each : classes * each);
}

/**
 * Logits as bytes. Of the largest k, what remains of the probability is kept as the logit that all others would have in common: softmax at T = 1
 * gives the largest k their own probabilities.
 */
export function encodeRow({ data, shape }: ToldRow, how: Exactness): Uint8Array {
  const [positions, classes] = shape as readonly [number, number];
  const kept = keptOf(how, classes);
  const values = new Float32Array(positions * (kept < classes ? kept + 1 : classes));
  const ids = new Int32Array(kept < classes ? positions * kept : 0);
  for (let p = 0; p < positions; p++) {
    const row = data.subarray(p * classes, (p + 1) * classes) as Float32Array;
    const top = row.reduce((a, v) => Math.max(a, v), -Infinity);
    const origin = how.dtype === "f16" ? top : 0;
    if (kept === classes)
      values.set(
        row.map((v) => v - origin),
        p * classes,
      );
    else {
      let rest = row.reduce((a, v) => a + Math.exp(v - top), 0);
      mostLikely(row, kept).forEach((id, i) => {
        ids[p * kept + i] = id;
        values[p * (kept + 1) + i] = row[id]! - origin;
        rest -= Math.exp(row[id]! - top);
      });
      values[p * (kept + 1) + kept] = Math.log(Math.max(rest, SMALLEST) / (classes - kept)) + top - origin;
    }
  }
  const floats = convertFloat(f32(values), how.dtype).data;
  // Ids first: they are four bytes wide.
  return Buffer.concat([bytesIn(ids), bytesIn(floats)]);
}

/** The other way; what was dropped has the logit that stands for all of it. */
export function decodeRow(bytes: Uint8Array, how: Exactness, positions: number, classes: number): ToldRow {
  const kept = keptOf(how, classes);
  const own = Uint8Array.from(bytes).buffer;
  const ids = new Int32Array(own, 0, kept < classes ? positions * kept : 0);
  const stored = how.dtype === "f16" ? new Uint16Array(own, ids.byteLength) : new Float32Array(own, ids.byteLength);
  const values = convertFloat(hostTensor(how.dtype, [stored.length], stored), "f32").data as Float32Array;
  if (kept === classes) return f32(values, [positions, classes]);
  const whole = new Float32Array(positions * classes);
  for (let p = 0; p < positions; p++) {
    whole.fill(values[p * (kept + 1) + kept]!, p * classes, (p + 1) * classes);
    for (let i = 0; i < kept; i++) whole[p * classes + ids[p * kept + i]!] = values[p * (kept + 1) + i]!;
  }
  return f32(whole, [positions, classes]);
}

function bytesIn({ buffer, byteOffset, byteLength }: ArrayBufferView): Uint8Array {
  return new Uint8Array(buffer, byteOffset, byteLength);
}
