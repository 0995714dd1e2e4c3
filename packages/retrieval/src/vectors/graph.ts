import { type HostTensor, hostTensor, LfmError, Rng } from "@lfm/core";
import type { IndexFile } from "../index/strings.js";
import type { Asked, RowSpace, Structure, StructureKind } from "./structure.js";
import { Area } from "./vector-memory.js";

/** Links where the factory says nothing, as in faiss. */
const LINKS = 32;
/** Rows that a search keeps in view where it says nothing. */
const EF = 64;

/**
 * "HNSW32" (arXiv 1603.09320): a graph of near rows, in layers that get sparser upwards; a question goes down through them and looks around at the
 * ground. A row has so many links at each level and twice as many at the ground. Levels are drawn by seed and row, rows come in one after the other:
 * the same rows in the same order make the same graph.
 */
export const graph: StructureKind = {
  pattern: /^HNSW(\d*)$/i,
  create: (space) => {
    const m = space.detail === "" ? LINKS : Number(space.detail);
    if (m < 2 || m > 512) throw new LfmError("CONFIG_INVALID", `[@lfm/retrieval] HNSW${m}: a row has 2 to 512 links`, { hint: "HNSW32" });
    if (!space.codec.symmetric)
      throw new LfmError("CONFIG_INVALID", "[@lfm/retrieval] HNSW compares rows with each other, which PQ does not", {
        hint: "HNSW32, HNSW32,SQ8 or HNSW32,SQ8,RFlat; IVF64,PQ8 for few bytes",
      });
    return new Graph(space, m);
  },
};

class Graph implements Structure {
  readonly trained = true;
  readonly masks = true;
  private count = 0;
  private levels: number[] = [];
  private blockCount = 0;
  private entry = 0;
  /** What the kernels were told last. */
  private opened = "";
  private readonly ground: Area;
  private readonly blocks: Area;
  private readonly first: Area;
  private readonly seen: Area;
  /** i32[rows]: the next row whose code is the same, −1 behind the last. */
  private readonly twins: Area;
  /** Rows that stand in the graph by their code; undefined where it has not been needed yet. */
  private leaders: Map<number, number[]> | undefined = new Map();
  private readonly candidates: Area;
  private readonly fresh: Area;

  constructor(
    private readonly space: RowSpace,
    private readonly m: number,
  ) {
    const area = (): Area => new Area(space.memory);
    this.ground = area();
    this.blocks = area();
    this.first = area();
    this.seen = area();
    this.twins = area();
    this.candidates = area();
    this.fresh = area();
  }

  train(): void {}

  add(rows: Float32Array, first: number): void {
    const { codec, codes, dimension } = this.space;
    codec.encode(rows, codes, first);
    this.link(first, first + rows.length / dimension);
  }

  /** Takes in the rows from … to − 1, whose codes are in place. */
  private link(from: number, to: number): void {
    const { memory, top, seed, efConstruction } = this.space;
    const [low, high] = [1 + 2 * this.m, 1 + this.m];
    const rng = new Rng(seed).split("levels");
    const drawn = Array.from({ length: to - from }, (_, i) => Math.floor(-Math.log(1 - rng.split(from + i).uniform()) / Math.log(this.m)));
    const blocks = this.blockCount + drawn.reduce((sum, level) => sum + level, 0);
    this.opened = "";
    this.ground.reserve(4 * low * to, 4 * low * from);
    this.blocks.reserve(4 * high * blocks, 4 * high * this.blockCount);
    this.first.reserve(4 * to, 4 * from);
    this.twins.reserve(4 * to, 4 * from);
    this.twins.i32(to).fill(-1, from);
    this.ground.i32(low * to).fill(0, low * from);
    this.blocks.i32(high * blocks).fill(0, high * this.blockCount);
    top.reserve(8 * Math.max(efConstruction, low));
    this.open(to);
    const [firsts, twins] = [this.first.i32(to), this.twins.i32(to)];
    for (const [i, level] of drawn.entries()) {
      const row = from + i;
      this.count = row + 1;
      firsts[row] = this.blockCount;
      const leader = this.leaderOf(row);
      if (leader !== row) {
        // Equal rows would crowd each other's links: only the first stands in the graph, at its level.
        this.levels.push(0);
        twins[row] = twins[leader]!;
        twins[leader] = row;
        continue;
      }
      this.levels.push(level);
      this.blockCount += level;
      if (row === 0) continue;
      const highest = this.levels[this.entry]!;
      memory.fn.insert(row, level, this.entry, highest, efConstruction);
      if (level > highest) this.entry = row;
    }
  }

  /** The first row with the code of this one, which is the row itself where it is new. */
  private leaderOf(row: number): number {
    const { codes, codec } = this.space;
    const bytes = codes.u8((row + 1) * codec.stride);
    if (!this.leaders) {
      this.leaders = new Map();
      const follows = new Set(this.twins.i32(row));
      for (let i = 0; i < row; i++) if (!follows.has(i)) this.note(hashOf(bytes, i, codec.stride), i);
    }
    const hash = hashOf(bytes, row, codec.stride);
    const same = this.leaders.get(hash)?.find((other) => equalRows(bytes, other, row, codec.stride));
    if (same === undefined) this.note(hash, row);
    return same ?? row;
  }

  private note(hash: number, row: number): void {
    const rows = this.leaders!.get(hash);
    if (rows) rows.push(row);
    else this.leaders!.set(hash, [row]);
  }

  /** Tells the kernels where everything lies, unless they know. */
  private open(count: number): void {
    const { memory, codec, codes, top } = this.space;
    const places = `${count} ${codes.at} ${top.at}`;
    if (this.opened === places) return;
    this.opened = places;
    this.seen.reserve(2 * count);
    this.seen.u16(count).fill(0);
    this.candidates.reserve(8 * count);
    this.fresh.reserve(4 * (1 + 2 * this.m));
    memory.fn.openGraph(
      codec.kind,
      codes.at,
      codec.stride,
      codec.n,
      this.m,
      this.ground.at,
      this.blocks.at,
      this.first.at,
      this.seen.at,
      this.twins.at,
      count,
      this.candidates.at,
      this.fresh.at,
      top.at,
    );
  }

  find(query: Float32Array, k: number, { mask, allowed, ef = EF }: Asked): number {
    const { memory, codec, codes, top } = this.space;
    if (allowed === 0) return 0;
    const width = Math.max(ef, k);
    const question = codec.question(query);
    top.reserve(8 * width);
    // A search looks at about width·m rows, at more where many are masked: where there are not so many, going through all takes less, and is exact.
    if (allowed * allowed <= width * this.m * this.count) {
      memory.fn.openTop(top.at, k);
      memory.fn.scan(codec.kind, question, codes.at, codec.stride, codec.n, 0, this.count, mask);
      return memory.fn.sortTop();
    }
    this.open(this.count);
    return Math.min(k, memory.fn.searchGraph(question, this.entry, this.levels[this.entry]!, width, mask));
  }

  keep(kept: Int32Array): void {
    this.levels = [];
    this.leaders = new Map();
    this.blockCount = 0;
    this.count = 0;
    this.entry = 0;
    if (kept.length > 0) this.link(0, kept.length);
  }

  tensors(): Readonly<Record<string, HostTensor>> {
    const [low, high, n] = [1 + 2 * this.m, 1 + this.m, this.count];
    return {
      levels: hostTensor("i32", [n], Int32Array.from(this.levels)),
      entry: hostTensor("i32", [1], Int32Array.of(this.entry)),
      twins: hostTensor("i32", [n], this.twins.i32(n).slice()),
      ground: hostTensor("i32", [n, low], this.ground.i32(n * low).slice()),
      blocks: hostTensor("i32", [this.blockCount, high], this.blocks.i32(this.blockCount * high).slice()),
    };
  }

  restore(file: IndexFile, count: number): void {
    const [low, high] = [1 + 2 * this.m, 1 + this.m];
    const ints = (name: string, length: number): Int32Array => file.tensor(name, "i32", length).data as Int32Array;
    const levels = ints("levels", count);
    if (levels.some((level) => level < 0 || level > 1023)) throw file.broken("a level is out of range");
    this.levels = [...levels];
    this.blockCount = this.levels.reduce((sum, level) => sum + level, 0);
    const [ground, blocks] = [ints("ground", count * low), ints("blocks", this.blockCount * high)];
    this.entry = ints("entry", 1)[0]!;
    const twins = ints("twins", count);
    // A chain goes from a row to others that it does not come back to: each is followed by at most one, and no first one is a follower.
    const follows = new Set<number>();
    for (const [row, next] of twins.entries()) {
      if (next === -1) continue;
      if (next < 0 || next >= count || next === row || follows.has(next)) throw file.broken("rows that are the same make no chain");
      follows.add(next);
    }
    if (chained(twins, follows) !== follows.size) throw file.broken("rows that are the same make no chain");
    this.count = count;
    this.opened = "";
    this.leaders = undefined;
    this.twins.reserve(4 * count);
    this.twins.i32(count).set(twins);
    if (count > 0 && this.levels[this.entry] !== this.levels.reduce((a, b) => Math.max(a, b), 0))
      throw file.broken("the graph is not entered at its top");
    let block = 0;
    for (let row = 0; row < count; row++) {
      this.check(file, ground, row * low, 2 * this.m, 0);
      for (let level = 1; level <= this.levels[row]!; level++) this.check(file, blocks, block++ * high, this.m, level);
    }
    this.ground.reserve(4 * ground.length);
    this.ground.i32(ground.length).set(ground);
    this.blocks.reserve(4 * blocks.length);
    this.blocks.i32(blocks.length).set(blocks);
    this.first.reserve(4 * count);
    const firsts = this.first.i32(count);
    for (let row = 0, at = 0; row < count; at += this.levels[row++]!) firsts[row] = at;
  }

  /** Links of a row at a level: not more than there is room for, to rows that reach the level. */
  private check(file: IndexFile, links: Int32Array, at: number, room: number, level: number): void {
    const many = links[at]!;
    if (many < 0 || many > room) throw file.broken("a row has more links than it has room for");
    for (let i = at + 1; i <= at + many; i++) {
      if (!((this.levels[links[i]!] ?? -1) >= level)) throw file.broken("a link leads to a row that is not there");
    }
  }
}

/** Rows that are reached along chains from rows that follow none. */
function chained(twins: Int32Array, follows: ReadonlySet<number>): number {
  let reached = 0;
  for (let row = 0; row < twins.length; row++) {
    if (!follows.has(row)) for (let next = twins[row]!; next >= 0; next = twins[next]!) reached++;
  }
  return reached;
}

/** FNV-1a of a row's bytes. */
function hashOf(bytes: Uint8Array, row: number, stride: number): number {
  let hash = 0x811c9dc5;
  for (let at = row * stride; at < (row + 1) * stride; at++) hash = Math.imul(hash ^ bytes[at]!, 0x01000193);
  return hash;
}

function equalRows(bytes: Uint8Array, a: number, b: number, stride: number): boolean {
  for (let i = 0; i < stride; i++) if (bytes[a * stride + i] !== bytes[b * stride + i]) return false;
  return true;
}
