// HNSW (arXiv 1603.09320). A node's links at the ground are i32[1 + 2M] (how many, which); above it has blocks i32[1 + M], one a level.
import { similarity, F32_DOT, F32_L2, I8_DOT } from "./similarity";
import { isFull, offer, openTop, rowAt, scoreAt, sortTop, worst } from "./top";

let kind: i32 = 0;
let rows: usize = 0;
let stride: usize = 0;
let n: i32 = 0;
let most: i32 = 0;
let ground: usize = 0;
let blocks: usize = 0;
let firstBlock: usize = 0;
let visited: usize = 0;
let twins: usize = 0;
let epoch: u32 = 0;
let nodes: i32 = 0;
let heap: usize = 0;
let heapSize: i32 = 0;
let pending: usize = 0;
let top: usize = 0;
/** Keeps reads ahead from being left out. */
let touched: i32 = 0;

/**
 * Where everything lies. @param m links of a node at each level, twice as many at the ground
 * @param first i32[nodes]: a node's block of level 1, those above follow @param seen u16[nodes], zero at first
 * @param equal i32[nodes]: the next node whose row is the same, −1 behind the last; only the first of them stands in the graph
 * @param candidates room for 8·nodes bytes @param fresh for 4·(2m + 1) @param found for 8·(the largest ef, or 2m + 1)
 */
export function openGraph(
  rowKind: i32, rowsAt: usize, rowStride: i32, rowNumbers: i32, m: i32, groundAt: usize, blocksAt: usize, first: usize, seen: usize, equal: usize, count: i32,
  candidates: usize, fresh: usize, found: usize
): void {
  kind = rowKind;
  rows = rowsAt;
  stride = <usize>rowStride;
  n = rowNumbers;
  most = m;
  ground = groundAt;
  blocks = blocksAt;
  firstBlock = first;
  visited = seen;
  twins = equal;
  nodes = count;
  heap = candidates;
  pending = fresh;
  top = found;
}

@inline
function rowOf(node: i32): usize {
  return rows + <usize>node * stride;
}

@inline
function linksOf(node: i32, level: i32): usize {
  if (level == 0) return ground + <usize>node * (<usize>(1 + 2 * most) << 2);
  return blocks + <usize>(load<i32>(firstBlock + (<usize>node << 2)) + level - 1) * (<usize>(1 + most) << 2);
}

@inline
function near(question: usize, node: i32): f32 {
  const row = rowOf(node);
  if (kind == F32_DOT) return similarity(F32_DOT, question, row, n);
  if (kind == I8_DOT) return similarity(I8_DOT, question, row, n);
  if (kind == F32_L2) return similarity(F32_L2, question, row, n);
  return similarity(kind, question, row, n);
}

function nextEpoch(): void {
  if (++epoch < 65536) return;
  memory.fill(visited, 0, <usize>nodes << 1);
  epoch = 1;
}

function push(node: i32, score: f32): void {
  let at = heapSize++;
  while (at > 0) {
    const parent = (at - 1) >> 1;
    const p = heap + (<usize>parent << 3);
    if (load<f32>(p) >= score) break;
    store<u64>(heap + (<usize>at << 3), load<u64>(p));
    at = parent;
  }
  const p = heap + (<usize>at << 3);
  store<f32>(p, score);
  store<i32>(p, node, 4);
}

/** Takes the root away. */
function pop(): void {
  const last = heap + (<usize>--heapSize << 3);
  const score = load<f32>(last);
  let at = 0;
  for (;;) {
    let child = 2 * at + 1;
    if (child >= heapSize) break;
    let c = heap + (<usize>child << 3);
    if (child + 1 < heapSize && load<f32>(c, 8) > load<f32>(c)) {
      child++;
      c += 8;
    }
    if (load<f32>(c) <= score) break;
    store<u64>(heap + (<usize>at << 3), load<u64>(c));
    at = child;
  }
  store<u64>(heap + (<usize>at << 3), load<u64>(last));
}

/** Offers a node, and those whose rows are the same if they are wanted, where the mask lets them through. */
@inline
function offerAll(node: i32, score: f32, mask: usize, withTwins: bool): void {
  if (!mask || load<u8>(mask + <usize>node)) offer(node, score);
  if (!withTwins) return;
  for (let twin = load<i32>(twins + (<usize>node << 2)); twin >= 0; twin = load<i32>(twins + (<usize>twin << 2))) {
    if (!mask || load<u8>(mask + <usize>twin)) offer(twin, score);
  }
}

/** Puts the best nodes of a level that the mask lets through into the open top, beginning at one node. */
function searchLevel(question: usize, entry: i32, level: i32, mask: usize, withTwins: bool): void {
  nextEpoch();
  heapSize = 0;
  const first = near(question, entry);
  store<u16>(visited + (<usize>entry << 1), <u16>epoch);
  push(entry, first);
  offerAll(entry, first, mask, withTwins);
  while (heapSize > 0) {
    const node = load<i32>(heap, 4);
    if (isFull() && load<f32>(heap) < worst()) return;
    pop();
    const links = linksOf(node, level);
    const count = load<i32>(links);
    let fresh = 0;
    for (let i = 0; i < count; i++) {
      const other = load<i32>(links + (<usize>i << 2), 4);
      const seen = visited + (<usize>other << 1);
      if (load<u16>(seen) == <u16>epoch) continue;
      store<u16>(seen, <u16>epoch);
      store<i32>(pending + (<usize>fresh << 2), other);
      fresh++;
      // Reads that nothing waits for: the rows are on their way before they are needed.
      const row = rowOf(other);
      for (let line: usize = 0; line < stride; line += 64) touched ^= <i32>load<u8>(row + line);
    }
    for (let i = 0; i < fresh; i++) {
      const other = load<i32>(pending + (<usize>i << 2));
      const score = near(question, other);
      if (isFull() && score <= worst()) continue;
      push(other, score);
      offerAll(other, score, mask, withTwins);
    }
  }
}

/** Goes to the best neighbour as long as there is a better one, level by level. @returns where it ends */
function descend(question: usize, entry: i32, from: i32, to: i32): i32 {
  let node = entry;
  let best = near(question, node);
  for (let level = from; level > to; level--) {
    for (let moved = true; moved; ) {
      moved = false;
      const links = linksOf(node, level);
      const count = load<i32>(links);
      for (let i = 0; i < count; i++) {
        const other = load<i32>(links + (<usize>i << 2), 4);
        const score = near(question, other);
        if (score > best) {
          best = score;
          node = other;
          moved = true;
        }
      }
    }
  }
  return node;
}

/** The best `ef` nodes, best first, in the top. @returns how many there are */
export function searchGraph(question: usize, entry: i32, level: i32, ef: i32, mask: usize): i32 {
  const start = descend(question, entry, level, 0);
  openTop(top, ef);
  searchLevel(question, start, 0, mask, true);
  return sortTop();
}

/**
 * Writes the links of a node from the sorted top: one is left out that is nearer to one that is kept than to the node (algorithm 4), unless all
 * fit.
 */
function choose(links: usize, found: i32, room: i32): void {
  let kept = 0;
  for (let i = 0; i < found && kept < room; i++) {
    const candidate = rowAt(i);
    let good = true;
    if (found > room) {
      const row = rowOf(candidate);
      const score = scoreAt(i);
      for (let j = 0; j < kept && good; j++) good = near(row, load<i32>(links + (<usize>j << 2), 4)) <= score;
    }
    if (good) {
      store<i32>(links + (<usize>kept << 2), candidate, 4);
      kept++;
    }
  }
  store<i32>(links, kept);
}

/** Gives `to` a link to `node`; where it has no room, the links are chosen anew. */
function linkBack(to: i32, node: i32, level: i32): void {
  const room = level == 0 ? 2 * most : most;
  const links = linksOf(to, level);
  const count = load<i32>(links);
  if (count < room) {
    store<i32>(links + (<usize>count << 2), node, 4);
    store<i32>(links, count + 1);
    return;
  }
  const row = rowOf(to);
  openTop(top, count + 1);
  offer(node, near(row, node));
  for (let i = 0; i < count; i++) {
    const other = load<i32>(links + (<usize>i << 2), 4);
    offer(other, near(row, other));
  }
  choose(links, sortTop(), room);
}

/** Links a node, whose row is in place and whose links are zero, into a graph that is entered at `entry` of `highest`. */
export function insert(node: i32, level: i32, entry: i32, highest: i32, ef: i32): void {
  const question = rowOf(node);
  let start = descend(question, entry, highest, level);
  for (let l = min<i32>(level, highest); l >= 0; l--) {
    openTop(top, ef);
    searchLevel(question, start, l, 0, false);
    const found = sortTop();
    start = rowAt(0);
    const links = linksOf(node, l);
    choose(links, found, l == 0 ? 2 * most : most);
    const count = load<i32>(links);
    for (let i = 0; i < count; i++) linkBack(load<i32>(links + (<usize>i << 2), 4), node, l);
  }
}
