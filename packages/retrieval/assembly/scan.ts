// Rows one after the other.
import { BITS, F32_DOT, F32_L2, I8_DOT, I8_L2, similarity, TABLES } from "./similarity";
import { isFull, offer, worst } from "./top";

@inline
function scanKind(kind: i32, question: usize, rows: usize, stride: i32, n: i32, from: i32, to: i32, mask: usize): void {
  let row = rows + <usize>from * <usize>stride;
  for (let i = from; i < to; i++, row += stride) {
    if (mask && !load<u8>(mask + <usize>i)) continue;
    const score = similarity(kind, question, row, n);
    if (!isFull() || score > worst()) offer(i, score);
  }
}

/** Offers the rows from … to − 1. @param mask one byte a row, 0 where it is left out; address 0: none is */
export function scan(kind: i32, question: usize, rows: usize, stride: i32, n: i32, from: i32, to: i32, mask: usize): void {
  if (kind == F32_DOT) scanKind(F32_DOT, question, rows, stride, n, from, to, mask);
  else if (kind == F32_L2) scanKind(F32_L2, question, rows, stride, n, from, to, mask);
  else if (kind == I8_DOT) scanKind(I8_DOT, question, rows, stride, n, from, to, mask);
  else if (kind == I8_L2) scanKind(I8_L2, question, rows, stride, n, from, to, mask);
  else if (kind == BITS) scanKind(BITS, question, rows, stride, n, from, to, mask);
  else scanKind(TABLES, question, rows, stride, n, from, to, mask);
}

/** The same of the rows that i32[count] at `list` names; `bias` is added to every score. */
export function scanRows(kind: i32, question: usize, rows: usize, stride: i32, n: i32, list: usize, count: i32, mask: usize, bias: f32): void {
  for (const end = list + (<usize>count << 2); list < end; list += 4) {
    const i = load<i32>(list);
    if (mask && !load<u8>(mask + <usize>i)) continue;
    const score = similarity(kind, question, rows + <usize>i * <usize>stride, n) + bias;
    if (!isFull() || score >= worst()) offer(i, score);
  }
}
