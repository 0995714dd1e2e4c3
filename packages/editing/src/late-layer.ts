import type { Model } from "@lfm/core";

/**
 * Where memories stand by default: late, as in their papers, yet with a block behind it, for only through that do the later tokens of an answer see
 * what was put there.
 */
export function lateLayer({ info: { layers } }: Model): number {
  return Math.max(0, Math.min(Math.floor(0.75 * layers), layers - 2));
}
