import { readFileSync } from "node:fs";

/** What tools/golden/linalg.py wrote. */
export function linalgGolden<T>(name: string): T {
  return JSON.parse(readFileSync(new URL(`golden/linalg/${name}.json`, import.meta.url), "utf8")) as T;
}

/** Largest difference over the largest magnitude that is wanted. */
export function relativeError(got: ArrayLike<number>, wanted: ArrayLike<number>): number {
  let [most, size] = [0, 0];
  for (let i = 0; i < wanted.length; i++) {
    most = Math.max(most, Math.abs(got[i]! - wanted[i]!));
    size = Math.max(size, Math.abs(wanted[i]!));
  }
  return Number.isNaN(most) ? Number.POSITIVE_INFINITY : most / (size || 1);
}
