import type { Rng } from "@lfm/core";
import type { Constraint, Transformation } from "./recipe.js";

const LETTERS = "abcdefghijklmnopqrstuvwxyz";

/**
 * Exchanges a word for itself with one typo, one of each kind: two neighbouring letters swapped, a letter replaced, left out, or put in (DeepWordBug,
 * arXiv 1801.04354, §III-C). Words of one letter stay as they are.
 */
export const typos: Transformation = (words, place, rng) => {
  const letters = [...words[place]!];
  const n = letters.length;
  if (n < 2) return [];
  const letter = (): string => LETTERS[rng.int(LETTERS.length)]!;
  const at = (k: number): string => letters[k]!;
  const swap = rng.int(n - 1);
  const [replaced, left, put] = [rng.int(n), rng.int(n), rng.int(n + 1)];
  const made = [
    letters.map((_, i) => (i === swap ? at(swap + 1) : i === swap + 1 ? at(swap) : at(i))),
    letters.map((c, i) => (i === replaced ? otherThan(c, rng) : c)),
    letters.filter((_, i) => i !== left),
    [...letters.slice(0, put), letter(), ...letters.slice(put)],
  ].map((w) => w.join(""));
  return [...new Set(made)].filter((w) => w !== words[place]);
};

function otherThan(letter: string, rng: Rng): string {
  const others = [...LETTERS].filter((c) => c !== letter);
  return others[rng.int(others.length)]!;
}

/** At most so many letters are put in, left out or replaced in all (Levenshtein's distance, a swap counts two). */
export function editsAtMost(most: number): Constraint {
  return (original, changed) => original.reduce((sum, w, i) => sum + (w === changed[i] ? 0 : distance(w, changed[i]!)), 0) <= most;
}

function distance(a: string, b: string): number {
  let row = Array.from({ length: b.length + 1 }, (_, j) => j);
  for (let i = 1; i <= a.length; i++) {
    const next = [i];
    for (let j = 1; j <= b.length; j++) next[j] = Math.min(next[j - 1]! + 1, row[j]! + 1, row[j - 1]! + (a[i - 1] === b[j - 1] ? 0 : 1));
    row = next;
  }
  return row[b.length]!;
}
