import { type HostTensor, hostTensor, LfmError } from "@lfm/core";
import type { IndexFile } from "../index/strings.js";
import { type Codec, type CodecKind, type CodecSpace, rowKind } from "./codec.js";
import { halfNorms, kMeans } from "./kmeans.js";
import { Area, type VectorMemory } from "./vector-memory.js";

/** Centres of each part: a part's number is one byte. */
const CENTRES = 256;
const ROUNDS = 25;
/** Vectors whose parts are gathered at once. */
const BLOCK = 4096;

/**
 * "PQ8" (product quantisation, doi 10.1109/TPAMI.2010.57): the vector is cut into so many parts, each kept as the number of the nearest of 256 centres
 * that training found for it. A question becomes a table of what each centre is worth to it (ADC), a row the sum of what it names.
 */
export const productRows: CodecKind = {
  pattern: /^PQ(\d+)(?:x(\d+))?$/i,
  create: ({ memory, dimension, metric, detail }: CodecSpace): Codec => {
    const [, parts, bits = "8"] = /^(\d+)(?:x(\d+))?$/.exec(detail)!;
    const m = Number(parts);
    if (bits !== "8")
      throw new LfmError("CAPABILITY_MISSING", `[@lfm/retrieval] PQ${detail}: a part is kept in 8 bits here`, { hint: `PQ${m}` });
    if (m < 1 || dimension % m !== 0) {
      const fits = Array.from({ length: Math.min(dimension, 256) }, (_, i) => i + 1).filter((i) => dimension % i === 0);
      throw new LfmError("CONFIG_INVALID", `[@lfm/retrieval] PQ${detail}: ${dimension} numbers cannot be cut into ${m} parts`, {
        hint: `one of ${fits
          .slice(-12)
          .map((i) => `PQ${i}`)
          .join(", ")}`,
      });
    }
    return new ProductRows(memory, m, dimension / m, metric === "l2");
  },
};

class ProductRows implements Codec {
  readonly kind = rowKind.tables;
  readonly plain = false;
  readonly symmetric = false;
  readonly residual = true;
  readonly stride: number;
  readonly n: number;
  /** f32[m, 256, width]; empty before training. */
  private centres = new Float32Array(0);
  private readonly centresAt: Area;
  private readonly offsets: Area;
  private readonly part: Area;
  private readonly found: Area;
  private readonly values: Area;
  private readonly asked: Area;
  private readonly tables: Area;

  constructor(
    private readonly memory: VectorMemory,
    private readonly m: number,
    private readonly width: number,
    private readonly distances: boolean,
  ) {
    this.stride = m;
    this.n = m;
    const area = (): Area => new Area(memory);
    this.centresAt = area();
    this.offsets = area();
    this.part = area();
    this.found = area();
    this.values = area();
    this.asked = area();
    this.tables = area();
  }

  get trained(): boolean {
    return this.centres.length > 0;
  }

  train(rows: Float32Array, rng: Parameters<Codec["train"]>[1]): void {
    const [m, width] = [this.m, this.width];
    const n = rows.length / (m * width);
    const centres = new Float32Array(m * CENTRES * width);
    const part = new Float32Array(n * width);
    for (let j = 0; j < m; j++) {
      for (let i = 0; i < n; i++) part.set(rows.subarray((i * m + j) * width, (i * m + j + 1) * width), i * width);
      const what = `PQ${m}`;
      centres.set(kMeans(this.memory, part, width, { k: CENTRES, rounds: ROUNDS, rng: rng.split(`part/${j}`), what }), j * CENTRES * width);
    }
    this.keep(centres);
  }

  private keep(centres: Float32Array<ArrayBuffer>): void {
    this.centres = centres;
    this.centresAt.reserve(4 * centres.length);
    this.centresAt.f32(centres.length).set(centres);
    const offsets = halfNorms(centres, this.width);
    this.offsets.reserve(4 * offsets.length);
    this.offsets.f32(offsets.length).set(offsets);
    this.part.reserve(4 * BLOCK * this.width);
    this.found.reserve(4 * BLOCK);
    this.values.reserve(4 * BLOCK);
    this.asked.reserve(4 * this.m * this.width);
    this.tables.reserve(4 * this.m * CENTRES);
  }

  encode(rows: Float32Array, into: Area, first: number): void {
    const [m, width] = [this.m, this.width];
    const n = rows.length / (m * width);
    for (let from = 0; from < n; from += BLOCK) {
      const count = Math.min(BLOCK, n - from);
      for (let j = 0; j < m; j++) {
        const part = this.part.f32(count * width);
        for (let i = 0; i < count; i++) {
          const at = ((from + i) * m + j) * width;
          part.set(rows.subarray(at, at + width), i * width);
        }
        const [centres, offsets] = [this.centresAt.at + 4 * j * CENTRES * width, this.offsets.at + 4 * j * CENTRES];
        this.memory.fn.assign(this.part.at, count, width, centres, CENTRES, offsets, this.found.at, this.values.at);
        const found = this.found.i32(count);
        const codes = into.u8((first + n) * m);
        for (let i = 0; i < count; i++) codes[(first + from + i) * m + j] = found[i]!;
      }
    }
  }

  question(query: Float32Array): number {
    this.asked.f32(query.length).set(query);
    this.memory.fn.fillTables(this.asked.at, this.centresAt.at, this.m, this.width, this.distances, this.tables.at);
    return this.tables.at;
  }

  learned(): Readonly<Record<string, HostTensor>> {
    return { codebooks: hostTensor("f32", [this.m, CENTRES, this.width], this.centres) };
  }

  restore(file: IndexFile): void {
    const { data } = file.tensor("codebooks", "f32", this.m * CENTRES * this.width);
    const centres = Float32Array.from(data as Float32Array);
    if (!centres.every(Number.isFinite)) throw file.broken("a codebook has values that are not finite");
    this.keep(centres);
  }

  flaw(): undefined {
    return undefined;
  }
}
