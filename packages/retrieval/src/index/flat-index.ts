import { type Compiled, compile, type Engine, f32, type HostTensor, hostTensor, LfmError, matmul, sym, throwIfAborted } from "@lfm/core";
import type { Hit } from "@lfm/data";
import { writeSafetensors } from "@lfm/formats";
import { openIndex, packStrings } from "./strings.js";
import { TopK } from "./top-k.js";

export interface FlatOptions {
  /** "cosine" scales vectors to length 1 when they come in; "inner-product" takes them as they are. Default "cosine". */
  readonly metric?: "cosine" | "inner-product";
}

export interface SearchOptions {
  /** With an engine, products are matrix products in blocks; without, plain loops. */
  readonly engine?: Engine;
  readonly signal?: AbortSignal;
}

/** Exact search over vectors: every vector is compared with every query. */
export interface FlatIndex {
  readonly dimension: number;
  readonly metric: "cosine" | "inner-product";
  /** Ids in the order of insertion, which is the order of ties. */
  readonly ids: readonly string[];
  /** Bytes of vectors and ids as saved. */
  readonly bytes: number;
  /** @param vectors f32[ids, dimension] @throws {LfmError} SHAPE_MISMATCH, CONFIG_INVALID for an id that is there already, NUMERIC_DIVERGED for values that are not finite */
  add(ids: readonly string[], vectors: HostTensor): void;
  /** Takes passages out; unknown ids are ignored. Returns how many went. */
  remove(ids: readonly string[]): number;
  /** The k best for each query. @param queries f32[queries, dimension] @throws {LfmError} SHAPE_MISMATCH, ABORTED between blocks */
  search(queries: HostTensor, k: number, options?: SearchOptions): Promise<Hit[][]>;
  /** One safetensors file, written beside and renamed. @throws {LfmError} FILE_IO */
  save(path: string): Promise<void>;
}

/** An empty index. @param dimension length of every vector */
export function createFlatIndex(dimension: number, options: FlatOptions = {}): FlatIndex {
  if (!Number.isInteger(dimension) || dimension < 1) {
    throw new LfmError("CONFIG_INVALID", `[@lfm/retrieval] flat: the dimension must be a positive integer, got ${dimension}`);
  }
  return new Flat(dimension, options.metric ?? "cosine", [], new Float32Array(0));
}

/** Opens a saved index. @throws {LfmError} FILE_IO, FILE_FORMAT */
export function loadFlat(path: string): FlatIndex {
  const file = openIndex(path, "flat");
  const { metric, dimension } = file.options;
  if (metric !== "cosine" && metric !== "inner-product") throw file.broken(`unknown metric "${String(metric)}"`);
  if (typeof dimension !== "number" || !Number.isInteger(dimension) || dimension < 1) throw file.broken("the options lack a dimension");
  const ids = file.strings("ids");
  if (new Set(ids).size !== ids.length) throw file.broken("an id stands twice");
  return new Flat(dimension, metric, ids, file.tensor("vectors", "f32", ids.length * dimension).data as Float32Array);
}

/** Values of one block of scores: 4 M × 4 bytes. */
const BLOCK = 1 << 22;

class Flat implements FlatIndex {
  private readonly known: Set<string>;

  constructor(
    readonly dimension: number,
    readonly metric: "cosine" | "inner-product",
    private names: string[],
    /** Room for at least names.length vectors. */
    private vectors: Float32Array,
  ) {
    this.known = new Set(names);
  }

  get ids(): readonly string[] {
    return this.names;
  }

  get bytes(): number {
    return packStrings(this.names).data.byteLength + 4 * this.names.length * this.dimension;
  }

  add(ids: readonly string[], vectors: HostTensor): void {
    const rows = this.rowsOf(vectors, ids.length);
    const fresh = new Set(ids);
    const twice = fresh.size < ids.length ? ids.find((id, i) => ids.indexOf(id) !== i) : ids.find((id) => this.known.has(id));
    if (twice !== undefined) throw new LfmError("CONFIG_INVALID", `[@lfm/retrieval] flat: id "${twice}" is there already`);
    const used = this.names.length * this.dimension;
    if (used + rows.length > this.vectors.length) {
      const grown = new Float32Array(Math.max(used + rows.length, 2 * used));
      grown.set(this.vectors.subarray(0, used));
      this.vectors = grown;
    }
    this.vectors.set(rows, used);
    this.names = [...this.names, ...ids];
    for (const id of ids) this.known.add(id);
  }

  remove(ids: readonly string[]): number {
    const gone = new Set(ids.filter((id) => this.known.has(id)));
    if (gone.size === 0) return 0;
    const d = this.dimension;
    let at = 0;
    for (const [i, id] of this.names.entries()) {
      if (!gone.has(id)) this.vectors.copyWithin(at++ * d, i * d, (i + 1) * d);
    }
    this.names = this.names.filter((id) => !gone.has(id));
    for (const id of gone) this.known.delete(id);
    return gone.size;
  }

  async search(queries: HostTensor, k: number, options: SearchOptions = {}): Promise<Hit[][]> {
    const n = this.names.length;
    const d = this.dimension;
    const m = queries.shape[0] ?? 0;
    const rows = this.rowsOf(queries, m);
    const tops = Array.from({ length: m }, () => new TopK(Math.min(Math.max(0, k), n)));
    const perBlock = Math.max(1, Math.floor(BLOCK / Math.max(1, m)));
    const engine = options.engine && m > 0 && n > 0 ? await this.products(options.engine) : undefined;
    try {
      for (let from = 0; from < n; from += perBlock) {
        throwIfAborted(options.signal, "[@lfm/retrieval] flat search");
        const count = Math.min(perBlock, n - from);
        const block = this.vectors.subarray(from * d, (from + count) * d);
        const scores = engine
          ? ((await engine({ q: f32(rows, [m, d]), v: f32(block, [count, d]) })).scores.data as Float32Array)
          : dotProducts(rows, block, d);
        for (const [q, top] of tops.entries()) {
          for (let i = 0; i < count; i++) {
            const score = scores[q * count + i]!;
            if (score > top.threshold) top.offer(from + i, score);
          }
        }
      }
    } finally {
      await engine?.dispose();
    }
    return tops.map((top) => top.hits(this.names));
  }

  save(path: string): Promise<void> {
    const [n, d] = [this.names.length, this.dimension];
    return writeSafetensors(
      path,
      { ids: packStrings(this.names), vectors: hostTensor("f32", [n, d], this.vectors.slice(0, n * d)) },
      { metadata: { "lfm.index": "flat", options: JSON.stringify({ metric: this.metric, dimension: d }) } },
    );
  }

  private async products(engine: Engine): Promise<Compiled<Specs, { readonly scores: ReturnType<typeof matmul> }>> {
    const specs = {
      q: { dtype: "f32", shape: [sym("queries"), this.dimension] },
      v: { dtype: "f32", shape: [sym("vectors"), this.dimension] },
    } as const;
    return compile(engine, specs as Specs, ({ q, v }) => ({ scores: matmul(q, v, { transB: true }) }));
  }

  /** Checked values, of length 1 each where the metric asks for it; a zero vector stays zero. */
  private rowsOf(tensor: HostTensor, count: number): Float32Array {
    const d = this.dimension;
    if (tensor.dtype !== "f32" || tensor.shape.length !== 2 || tensor.shape[0] !== count || tensor.shape[1] !== d) {
      throw new LfmError(
        "SHAPE_MISMATCH",
        `[@lfm/retrieval] flat: expected f32[${count}, ${d}], got ${tensor.dtype}[${tensor.shape.join(", ")}]`,
      );
    }
    const rows = Float32Array.from(tensor.data as Float32Array);
    if (!rows.every(Number.isFinite))
      throw new LfmError("NUMERIC_DIVERGED", "[@lfm/retrieval] flat: a vector has values that are not finite");
    if (this.metric === "inner-product") return rows;
    for (let at = 0; at < rows.length; at += d) {
      let sum = 0;
      for (let i = at; i < at + d; i++) sum += rows[i]! * rows[i]!;
      const scale = sum > 0 ? 1 / Math.sqrt(sum) : 0;
      for (let i = at; i < at + d; i++) rows[i]! *= scale;
    }
    return rows;
  }
}

interface Specs {
  readonly q: { readonly dtype: "f32"; readonly shape: readonly (number | ReturnType<typeof sym>)[] };
  readonly v: { readonly dtype: "f32"; readonly shape: readonly (number | ReturnType<typeof sym>)[] };
  readonly [name: string]: { readonly dtype: "f32"; readonly shape: readonly (number | ReturnType<typeof sym>)[] };
}

/** f32[queries, vectors] of inner products, four sums at a time. */
function dotProducts(queries: Float32Array, vectors: Float32Array, d: number): Float32Array {
  const [m, n] = [queries.length / d, vectors.length / d];
  const out = new Float32Array(m * n);
  for (let q = 0; q < m; q++) {
    for (let v = 0; v < n; v++) {
      let [a, b, c, e] = [0, 0, 0, 0];
      const [x, y] = [q * d, v * d];
      let i = 0;
      for (; i + 3 < d; i += 4) {
        a += queries[x + i]! * vectors[y + i]!;
        b += queries[x + i + 1]! * vectors[y + i + 1]!;
        c += queries[x + i + 2]! * vectors[y + i + 2]!;
        e += queries[x + i + 3]! * vectors[y + i + 3]!;
      }
      for (; i < d; i++) a += queries[x + i]! * vectors[y + i]!;
      out[q * n + v] = a + b + c + e;
    }
  }
  return out;
}
