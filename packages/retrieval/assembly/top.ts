// The best of what was offered: a heap of (f32 score, i32 row) with the worst on top. Higher scores are better, among equals lower rows.
import { similarity } from "./similarity";

let entries: usize = 0;
let size: i32 = 0;
let capacity: i32 = 0;

/** Begins anew. @param at room for 8·k bytes */
export function openTop(at: usize, k: i32): void {
  entries = at;
  size = 0;
  capacity = k;
}

@inline
export function scoreAt(i: i32): f32 {
  return load<f32>(entries + (<usize>i << 3));
}

@inline
export function rowAt(i: i32): i32 {
  return load<i32>(entries + (<usize>i << 3), 4);
}

@inline
export function isFull(): bool {
  return size >= capacity;
}

/** What a later row must exceed; of rows in ascending order a score that is equal comes too late. */
@inline
export function worst(): f32 {
  return load<f32>(entries);
}

@inline
function put(i: i32, score: f32, row: i32): void {
  const at = entries + (<usize>i << 3);
  store<f32>(at, score);
  store<i32>(at, row, 4);
}

@inline
function isWorse(score: f32, row: i32, than: f32, thanRow: i32): bool {
  return score < than || (score == than && row > thanRow);
}

export function offer(row: i32, score: f32): void {
  if (size < capacity) {
    let at = size++;
    while (at > 0) {
      const parent = (at - 1) >> 1;
      if (!isWorse(score, row, scoreAt(parent), rowAt(parent))) break;
      put(at, scoreAt(parent), rowAt(parent));
      at = parent;
    }
    put(at, score, row);
  } else if (capacity > 0 && isWorse(scoreAt(0), rowAt(0), score, row)) sink(score, row, size);
}

/** Puts an entry at the root of the heap of the first `n`, and lets it sink. */
function sink(score: f32, row: i32, n: i32): void {
  let at = 0;
  for (;;) {
    let child = 2 * at + 1;
    if (child >= n) break;
    if (child + 1 < n && isWorse(scoreAt(child + 1), rowAt(child + 1), scoreAt(child), rowAt(child))) child++;
    if (!isWorse(scoreAt(child), rowAt(child), score, row)) break;
    put(at, scoreAt(child), rowAt(child));
    at = child;
  }
  put(at, score, row);
}

/** Best first. @returns how many there are */
export function sortTop(): i32 {
  for (let end = size - 1; end > 0; end--) {
    const score = scoreAt(end);
    const row = rowAt(end);
    put(end, scoreAt(0), rowAt(0));
    sink(score, row, end);
  }
  return size;
}

/** Compares what was found with other rows of the same numbers, and sorts it anew. @returns how many there are */
export function rescoreTop(kind: i32, question: usize, rows: usize, stride: i32, n: i32): i32 {
  const found = size;
  size = 0;
  for (let i = 0; i < found; i++) {
    const row = rowAt(i);
    offer(row, similarity(kind, question, rows + <usize>row * <usize>stride, n));
  }
  return sortTop();
}
