import { type HostTensor, hostTensor, LfmError } from "@lfm/core";
import type { IndexFile } from "../index/strings.js";
import { rowKind } from "./codec.js";
import { halfNorms, kMeans } from "./kmeans.js";
import type { Asked, RowSpace, Structure, StructureKind } from "./structure.js";
import { Area } from "./vector-memory.js";

/** As faiss trains its coarse quantiser. */
const ROUNDS = 10;
/** Lists that are looked into where the search says nothing. */
const PROBES = 8;

/**
 * "IVF64": vectors are divided among so many lists by the nearest of as many centres (k-means), and a question looks into the lists of its nearest centres
 * alone. All lists are probed: exact as the codec is. Centres of products (cosine, inner product) have length 1.
 */
export const invertedLists: StructureKind = {
  pattern: /^IVF(\d+)$/i,
  create: (space) => {
    const lists = Number(space.detail);
    if (lists < 1) throw new LfmError("CONFIG_INVALID", "[@lfm/retrieval] IVF needs at least one list", { hint: "IVF64,Flat" });
    return new InvertedLists(space, lists);
  },
};

class InvertedLists implements Structure {
  readonly masks = false;
  /** f32[lists, dimension]; empty before training. */
  private centres = new Float32Array(0);
  /** The list of each row. */
  private listOf = new Int32Array(0);
  private count = 0;
  /** Rows by list, and where each list begins among them; made anew when rows have come or gone. */
  private starts: Int32Array | undefined;
  private readonly members: Area;
  private readonly centresAt: Area;
  private readonly offsets: Area;
  private readonly rows: Area;
  private readonly found: Area;
  private readonly values: Area;
  private readonly asked: Area;
  private readonly probed: Area;

  constructor(
    private readonly space: RowSpace,
    private readonly lists: number,
  ) {
    const area = (): Area => new Area(space.memory);
    this.members = area();
    this.centresAt = area();
    this.offsets = area();
    this.rows = area();
    this.found = area();
    this.values = area();
    this.asked = area();
    this.probed = area();
  }

  private get distances(): boolean {
    return this.space.metric === "l2";
  }

  get trained(): boolean {
    return this.centres.length > 0 && this.space.codec.trained;
  }

  train(rows: Float32Array, rng: Parameters<Structure["train"]>[1]): void {
    const { memory, dimension: d, codec } = this.space;
    const what = `IVF${this.lists}`;
    this.hold(kMeans(memory, rows, d, { k: this.lists, rounds: ROUNDS, unit: !this.distances, rng: rng.split("lists"), what }));
    codec.train(codec.residual ? this.residuals(rows, this.assign(rows)) : rows, rng.split("codec"));
  }

  private hold(centres: Float32Array): void {
    this.centres = Float32Array.from(centres);
    this.centresAt.reserve(4 * centres.length);
    this.centresAt.f32(centres.length).set(centres);
    this.offsets.reserve(4 * this.lists);
    this.offsets.f32(this.lists).set(this.distances ? halfNorms(centres, this.space.dimension) : new Float32Array(this.lists));
  }

  /** The list of each vector. */
  private assign(rows: Float32Array): Int32Array {
    const { memory, dimension: d } = this.space;
    const n = rows.length / d;
    this.rows.reserve(4 * rows.length);
    this.found.reserve(4 * n);
    this.values.reserve(4 * n);
    this.rows.f32(rows.length).set(rows);
    memory.fn.assign(this.rows.at, n, d, this.centresAt.at, this.lists, this.offsets.at, this.found.at, this.values.at);
    return this.found.i32(n).slice();
  }

  private residuals(rows: Float32Array, lists: Int32Array): Float32Array {
    const d = this.space.dimension;
    const out = Float32Array.from(rows);
    for (let i = 0; i < lists.length; i++) {
      for (let j = 0; j < d; j++) out[i * d + j]! -= this.centres[lists[i]! * d + j]!;
    }
    return out;
  }

  add(rows: Float32Array, first: number): void {
    const { codec, codes, dimension } = this.space;
    const lists = this.assign(rows);
    this.count = first + rows.length / dimension;
    if (this.count > this.listOf.length) {
      const grown = new Int32Array(Math.max(this.count, 2 * this.listOf.length));
      grown.set(this.listOf.subarray(0, first));
      this.listOf = grown;
    }
    this.listOf.set(lists, first);
    codec.encode(codec.residual ? this.residuals(rows, lists) : rows, codes, first);
    this.starts = undefined;
  }

  private arrange(): Int32Array {
    const starts = new Int32Array(this.lists + 1);
    for (let i = 0; i < this.count; i++) starts[this.listOf[i]! + 1]!++;
    for (let l = 0; l < this.lists; l++) starts[l + 1]! += starts[l]!;
    this.members.reserve(4 * this.count);
    const members = this.members.i32(this.count);
    const next = starts.slice();
    for (let i = 0; i < this.count; i++) members[next[this.listOf[i]!]!++] = i;
    return starts;
  }

  find(query: Float32Array, k: number, { mask, probes = PROBES }: Asked): number {
    const { memory, codec, codes, top, dimension: d } = this.space;
    const { fn } = memory;
    this.starts ??= this.arrange();
    const asked = Math.min(this.lists, probes);
    this.asked.reserve(4 * d);
    this.asked.f32(d).set(query);
    this.probed.reserve(8 * asked);
    top.reserve(8 * k);
    fn.openTop(this.probed.at, asked);
    const kind = this.distances ? rowKind.f32L2 : rowKind.f32Dot;
    fn.scan(kind, this.asked.at, this.centresAt.at, 4 * d, d, 0, this.lists, 0);
    fn.sortTop();
    const near = this.probed.i32(2 * asked).slice();
    const products = this.probed.f32(2 * asked).slice();
    const perList = codec.residual && this.distances;
    let question = perList ? 0 : codec.question(query);
    fn.openTop(top.at, k);
    for (let i = 0; i < asked; i++) {
      const list = near[2 * i + 1]!;
      const [from, to] = [this.starts[list]!, this.starts[list + 1]!];
      if (from === to) continue;
      if (perList) question = codec.question(this.residuals(query, Int32Array.of(list)));
      const bias = codec.residual && !this.distances ? products[2 * i]! : 0;
      fn.scanRows(codec.kind, question, codes.at, codec.stride, codec.n, this.members.at + 4 * from, to - from, mask, bias);
    }
    return fn.sortTop();
  }

  keep(kept: Int32Array): void {
    this.listOf = kept.map((row) => this.listOf[row]!);
    this.count = kept.length;
    this.starts = undefined;
  }

  tensors(): Readonly<Record<string, HostTensor>> {
    if (this.centres.length === 0) return {};
    return {
      centroids: hostTensor("f32", [this.lists, this.space.dimension], this.centres),
      lists: hostTensor("i32", [this.count], this.listOf.slice(0, this.count)),
    };
  }

  restore(file: IndexFile, count: number): void {
    const centres = file.tensor("centroids", "f32", this.lists * this.space.dimension).data as Float32Array;
    if (!centres.every(Number.isFinite)) throw file.broken("a centroid has values that are not finite");
    this.hold(centres);
    this.listOf = Int32Array.from(file.tensor("lists", "i32", count).data as Int32Array);
    if (this.listOf.some((list) => list < 0 || list >= this.lists)) throw file.broken("a vector lies in a list that is not there");
    this.count = count;
    this.starts = undefined;
  }
}
