import { type Engine, type HostTensor, hostTensor, isLfmError, LfmError, Rng, throwIfAborted } from "@lfm/core";
import type { Hit } from "@lfm/data";
import { writeSafetensors } from "@lfm/formats";
import { openIndex, packStrings } from "../index/strings.js";
import { type Audit, type AuditOptions, auditIndex } from "./audit.js";
import type { Codec } from "./codec.js";
import { searchByProducts } from "./engine-products.js";
import { exhaustive } from "./exhaustive.js";
import { f32Rows } from "./f32-rows.js";
import { type Factory, parseFactory } from "./factory.js";
import { type Metric, metrics, toUnitLength } from "./metric.js";
import type { SearchDepth } from "./search-depth.js";
import type { Structure } from "./structure.js";
import { Area, VectorMemory } from "./vector-memory.js";

export interface VectorIndexOptions {
  /** Default "cosine". */
  readonly metric?: Metric;
  /** Of what training and graphs draw; default 0. */
  readonly seed?: number;
  /** HNSW: neighbours that are looked at for the links of a new row; default 128. */
  readonly efConstruction?: number;
}

export interface VectorSearchOptions extends SearchDepth {
  /** Only ids that this holds for are found. */
  readonly filter?: (id: string) => boolean;
  /** Flat: many queries at once are compared by matrix products on all threads of an engine. */
  readonly engine?: Engine;
  readonly signal?: AbortSignal;
}

/** Search over vectors; what it is made of the factory string says. */
export interface VectorIndex {
  /** "Flat", "HNSW32", "IVF64,PQ8,RFlat" … as faiss writes them. */
  readonly factory: string;
  readonly dimension: number;
  readonly metric: Metric;
  /** Ids in the order of insertion, which is the order of ties. */
  readonly ids: readonly string[];
  /** Bytes of all that is saved, without the file's header. */
  readonly bytes: number;
  /** False for IVF and PQ that have seen no vectors. */
  readonly trained: boolean;
  /**
   * Learns centres and codebooks; nothing where there is nothing to learn.
   * @param vectors f32[n, dimension] @throws {LfmError} SHAPE_MISMATCH; CONFIG_INVALID for too few vectors, or where there are ids already
   */
  train(vectors: HostTensor): void;
  /** @param vectors f32[ids, dimension] @throws {LfmError} SHAPE_MISMATCH, CONFIG_INVALID for an id that is there already or an untrained index, NUMERIC_DIVERGED for values that are not finite */
  add(ids: readonly string[], vectors: HostTensor): void;
  /** Takes ids out; unknown ones are ignored. Returns how many went. */
  remove(ids: readonly string[]): number;
  /** The k best for each query. @param queries f32[queries, dimension] @throws {LfmError} SHAPE_MISMATCH, NUMERIC_DIVERGED, ABORTED */
  search(queries: HostTensor, k: number, options?: VectorSearchOptions): Promise<Hit[][]>;
  /** All that a search finds with a score of at least `least`, for each query. */
  range(queries: HostTensor, least: number, options?: VectorSearchOptions): Promise<Hit[][]>;
  /** What the shortcuts of the index cost and bring. @throws {LfmError} CONFIG_INVALID where nothing exact is at hand to compare with */
  audit(options?: AuditOptions): Promise<Audit>;
  /** One safetensors file, written beside and renamed. @throws {LfmError} FILE_IO */
  save(path: string): Promise<void>;
}

/** Rows that are encoded at once. */
const BLOCK = 4096;
const RESCORE = 4;
/** Queries from which on matrix products are faster than going through the rows for each. */
const FOR_ENGINE = 8;

/**
 * An empty index. @param factory as {@link parseFactory} reads it @param dimension length of every vector
 * @throws {LfmError} CONFIG_INVALID
 */
export function createVectorIndex(factory: string, dimension: number, options: VectorIndexOptions = {}): VectorIndex {
  return new Rows(parseFactory(factory), dimension, options);
}

/** Opens a saved index. @throws {LfmError} FILE_IO, FILE_FORMAT */
export function loadVectorIndex(path: string): VectorIndex {
  const file = openIndex(path, "vectors");
  const { factory, metric, dimension, seed, efConstruction } = file.options;
  const known = metrics.find((m) => m === metric);
  if (typeof factory !== "string" || known === undefined || !isCount(dimension) || !isCount(efConstruction) || typeof seed !== "number")
    throw file.broken("the options lack factory, metric, dimension, seed or efConstruction");
  try {
    const index = new Rows(parseFactory(factory), dimension, { metric: known, seed, efConstruction });
    index.restore(file);
    return index;
  } catch (error) {
    if (isLfmError(error, "CONFIG_INVALID") || isLfmError(error, "CAPABILITY_MISSING"))
      throw file.broken(error.message.replace("[@lfm/retrieval] ", ""), error);
    throw error;
  }
}

function isCount(value: unknown): value is number {
  return typeof value === "number" && Number.isInteger(value) && value >= 1 && value <= 1 << 24;
}

class Rows implements VectorIndex {
  readonly factory: string;
  readonly metric: Metric;
  private readonly seed: number;
  private readonly efConstruction: number;
  private readonly memory = new VectorMemory();
  private readonly codes = new Area(this.memory);
  private readonly top = new Area(this.memory);
  private readonly mask = new Area(this.memory);
  private readonly codec: Codec;
  private readonly structure: Structure;
  private readonly exact: { readonly codec: Codec; readonly rows: Area } | undefined;
  /** By row, also of one that was removed and is still there: `rowOf` does not lead to it. */
  private names: string[] = [];
  private rowOf = new Map<string, number>();

  constructor(
    private readonly made: Factory,
    readonly dimension: number,
    options: VectorIndexOptions,
  ) {
    if (!Number.isInteger(dimension) || dimension < 1)
      throw new LfmError("CONFIG_INVALID", `[@lfm/retrieval] ${made.name}: the dimension must be a positive integer, got ${dimension}`);
    this.factory = made.name;
    this.metric = options.metric ?? "cosine";
    this.seed = options.seed ?? 0;
    this.efConstruction = options.efConstruction ?? 128;
    const { memory, codes, top, metric, seed, efConstruction } = this;
    this.codec = made.codec.kind.create({ memory, dimension, metric, detail: made.codec.detail });
    const space = { memory, codec: this.codec, codes, top, dimension, metric, seed, efConstruction, detail: made.structure?.detail ?? "" };
    this.structure = made.structure ? made.structure.kind.create(space) : exhaustive(space);
    this.exact = made.exact ? { codec: f32Rows.create({ memory, dimension, metric, detail: "" }), rows: new Area(memory) } : undefined;
  }

  get ids(): readonly string[] {
    return this.rowOf.size === this.names.length ? this.names.slice() : this.names.filter((name, row) => this.rowOf.get(name) === row);
  }

  get trained(): boolean {
    return this.structure.trained;
  }

  get bytes(): number {
    return Object.values(this.tensors()).reduce((sum, { data }) => sum + data.byteLength, 0);
  }

  train(vectors: HostTensor): void {
    if (this.names.length > 0)
      throw new LfmError("CONFIG_INVALID", `[@lfm/retrieval] ${this.factory}: the index is not empty; it learns before anything is added`);
    this.structure.train(this.rowsOf(vectors, vectors.shape[0] ?? 0), new Rng(this.seed).split("train"));
  }

  add(ids: readonly string[], vectors: HostTensor): void {
    const rows = this.rowsOf(vectors, ids.length);
    if (!this.trained)
      throw new LfmError("CONFIG_INVALID", `[@lfm/retrieval] ${this.factory} must be trained before anything is added`, {
        hint: "index.train(vectors)",
      });
    const fresh = new Set(ids);
    const twice = fresh.size < ids.length ? ids.find((id, i) => ids.indexOf(id) !== i) : ids.find((id) => this.rowOf.has(id));
    if (twice !== undefined) throw new LfmError("CONFIG_INVALID", `[@lfm/retrieval] ${this.factory}: id "${twice}" is there already`);
    const [d, first, stride] = [this.dimension, this.names.length, this.codec.stride];
    const count = first + ids.length;
    this.codes.reserve(stride * count, stride * first);
    this.exact?.rows.reserve(4 * d * count, 4 * d * first);
    for (let at = 0; at < ids.length; at += BLOCK) {
      const block = rows.subarray(at * d, Math.min(ids.length, at + BLOCK) * d);
      this.structure.add(block, first + at);
      this.exact?.codec.encode(block, this.exact.rows, first + at);
    }
    for (const id of ids) {
      this.rowOf.set(id, this.names.length);
      this.names.push(id);
    }
  }

  remove(ids: readonly string[]): number {
    const before = this.rowOf.size;
    for (const id of ids) this.rowOf.delete(id);
    const left = this.rowOf.size;
    if (left < before && (!this.structure.masks || this.names.length >= 2 * left)) this.compact();
    return before - left;
  }

  /** Moves the rows up that are left. */
  private compact(): void {
    const kept = Int32Array.from(this.names.keys()).filter((row) => this.rowOf.get(this.names[row]!) === row);
    const move = (area: Area, stride: number): void => {
      const bytes = area.u8(this.names.length * stride);
      for (const [i, row] of kept.entries()) if (i !== row) bytes.copyWithin(i * stride, row * stride, (row + 1) * stride);
    };
    move(this.codes, this.codec.stride);
    if (this.exact) move(this.exact.rows, 4 * this.dimension);
    this.names = Array.from(kept, (row) => this.names[row]!);
    this.rowOf = new Map(this.names.map((name, row) => [name, row]));
    this.structure.keep(kept);
  }

  async search(queries: HostTensor, k: number, options: VectorSearchOptions = {}): Promise<Hit[][]> {
    const d = this.dimension;
    const m = queries.shape[0] ?? 0;
    const rows = this.rowsOf(queries, m);
    const most = Math.min(Math.max(0, Math.floor(k)), this.names.length);
    const { mask, allowed } = this.masked(options.filter);
    const products = this.codec.plain && this.metric !== "l2" && !this.made.structure;
    if (options.engine && products && m >= FOR_ENGINE && most > 0) {
      const tops = await searchByProducts(
        options.engine,
        rows,
        this.codes.f32(this.names.length * d),
        d,
        most,
        mask === 0 ? undefined : this.mask.u8(this.names.length),
        options.signal,
      );
      return tops.map((top) => top.hits(this.names));
    }
    const found: Hit[][] = [];
    for (let q = 0; q < m; q++) {
      throwIfAborted(options.signal, "[@lfm/retrieval] search");
      found.push(most === 0 ? [] : this.searchOne(rows.subarray(q * d, (q + 1) * d), most, mask, allowed, options));
    }
    return found;
  }

  private searchOne(query: Float32Array, k: number, mask: number, allowed: number, options: VectorSearchOptions): Hit[] {
    const wide = this.exact ? Math.min(this.names.length, Math.ceil(k * Math.max(1, options.rescore ?? RESCORE))) : k;
    let count = this.structure.find(query, wide, {
      mask,
      allowed,
      ...(options.ef === undefined ? {} : { ef: options.ef }),
      ...(options.probes === undefined ? {} : { probes: options.probes }),
    });
    if (this.exact) {
      const { codec, rows } = this.exact;
      count = Math.min(k, this.memory.fn.rescoreTop(codec.kind, codec.question(query), rows.at, codec.stride, codec.n));
    }
    const [scores, numbers] = [this.top.f32(2 * count), this.top.i32(2 * count)];
    return Array.from({ length: count }, (_, i) => ({ id: this.names[numbers[2 * i + 1]!]!, score: scores[2 * i]! }));
  }

  /** The mask of rows that may be found. */
  private masked(filter: ((id: string) => boolean) | undefined): { readonly mask: number; readonly allowed: number } {
    const n = this.names.length;
    if (!filter && this.rowOf.size === n) return { mask: 0, allowed: n };
    this.mask.reserve(n);
    const mask = this.mask.u8(n);
    let allowed = 0;
    for (let row = 0; row < n; row++) {
      const name = this.names[row]!;
      const found = this.rowOf.get(name) === row && (filter === undefined || filter(name));
      mask[row] = found ? 1 : 0;
      if (found) allowed++;
    }
    return { mask: this.mask.at, allowed };
  }

  async range(queries: HostTensor, least: number, options: VectorSearchOptions = {}): Promise<Hit[][]> {
    const m = queries.shape[0] ?? 0;
    const rows = this.rowsOf(queries, m);
    const d = this.dimension;
    const out: Hit[][] = [];
    for (let q = 0; q < m; q++) {
      const query = hostTensor("f32", [1, d], rows.slice(q * d, (q + 1) * d));
      let hits: Hit[] = [];
      // So many more each time, until the last is too far.
      for (let k = 64; ; k *= 8) {
        [hits = []] = await this.search(query, k, options);
        if (hits.length < k || hits.at(-1)!.score < least || k >= this.names.length) break;
      }
      out.push(hits.filter((hit) => hit.score >= least));
    }
    return out;
  }

  audit(options: AuditOptions = {}): Promise<Audit> {
    const vectors = this.exact?.rows ?? (this.codec.plain ? this.codes : undefined);
    const d = this.dimension;
    const vectorOf = (id: string): Float32Array => {
      const row = this.rowOf.get(id)!;
      return vectors!.f32((row + 1) * d).slice(row * d);
    };
    const flat = (): VectorIndex => {
      const index = createVectorIndex("Flat", d, { metric: this.metric });
      for (const id of this.ids) index.add([id], hostTensor("f32", [1, d], vectorOf(id)));
      return index;
    };
    return auditIndex(this, vectors && { vectorOf, flat }, new Rng(this.seed).split("audit"), options);
  }

  private tensors(): Record<string, HostTensor> {
    const [n, d, stride] = [this.names.length, this.dimension, this.codec.stride];
    const plain = (area: Area): HostTensor => hostTensor("f32", [n, d], area.f32(n * d).slice());
    return {
      ids: packStrings(this.names),
      ...(this.codec.plain ? { vectors: plain(this.codes) } : { codes: hostTensor("u8", [n, stride], this.codes.u8(n * stride).slice()) }),
      ...(this.exact ? { exact: plain(this.exact.rows) } : {}),
      ...this.codec.learned(),
      ...this.structure.tensors(),
    };
  }

  save(path: string): Promise<void> {
    const { factory, metric, dimension, seed, efConstruction } = this;
    if (this.rowOf.size < this.names.length) this.compact();
    const options = JSON.stringify({ factory, metric, dimension, seed, efConstruction });
    return writeSafetensors(path, this.tensors(), { metadata: { "lfm.index": "vectors", options } });
  }

  /** Takes in what a file holds. @throws {LfmError} FILE_FORMAT */
  restore(file: ReturnType<typeof openIndex>): void {
    const names = file.strings("ids");
    this.rowOf = new Map(names.map((name, row) => [name, row]));
    if (this.rowOf.size !== names.length) throw file.broken("an id stands twice");
    this.names = names;
    const n = names.length;
    const take = (area: Area, codec: Codec, name: string, dtype: "f32" | "u8", values: number): void => {
      const { data } = file.tensor(name, dtype, n * values);
      const bytes = new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
      const flaw = codec.flaw(bytes);
      if (flaw !== undefined) throw file.broken(flaw);
      area.reserve(bytes.length);
      area.u8(bytes.length).set(bytes);
    };
    if (this.codec.plain) take(this.codes, this.codec, "vectors", "f32", this.dimension);
    else take(this.codes, this.codec, "codes", "u8", this.codec.stride);
    if (this.exact) take(this.exact.rows, this.exact.codec, "exact", "f32", this.dimension);
    if (n === 0 && !file.has("codebooks") && !file.has("centroids")) return;
    this.codec.restore(file);
    this.structure.restore(file, n);
  }

  /** Checked values, of length 1 each where the metric asks for it. */
  private rowsOf(tensor: HostTensor, count: number): Float32Array {
    const d = this.dimension;
    const { dtype, shape, data } = tensor;
    if (dtype !== "f32" || shape.length !== 2 || shape[0] !== count || shape[1] !== d)
      throw new LfmError(
        "SHAPE_MISMATCH",
        `[@lfm/retrieval] ${this.factory}: expected f32[${count}, ${d}], got ${dtype}[${shape.join(", ")}]`,
      );
    const rows = Float32Array.from(data as Float32Array);
    if (!rows.every(Number.isFinite))
      throw new LfmError("NUMERIC_DIVERGED", `[@lfm/retrieval] ${this.factory}: a vector has values that are not finite`);
    if (this.metric === "cosine") toUnitLength(rows, d);
    return rows;
  }
}
