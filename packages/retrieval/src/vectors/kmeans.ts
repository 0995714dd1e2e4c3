import { LfmError, type Rng } from "@lfm/core";
import { toUnitLength } from "./metric.js";
import { Area, type VectorMemory } from "./vector-memory.js";

/** Vectors for each centre that are looked at, at most; faiss takes as many. */
const MOST_PER_CENTRE = 256;
/** By how much the halves of a split group differ, as in faiss. */
const SPLIT = 1 / 1024;

export interface KMeansOptions {
  readonly k: number;
  readonly rounds: number;
  /** Centres are scaled to length 1, for products. */
  readonly unit?: boolean;
  readonly rng: Rng;
  /** What is trained, for messages. */
  readonly what: string;
}

/**
 * Lloyd's algorithm from vectors drawn at random; a group that loses all its members takes half of a large one.
 * @param rows f32[count, d] @returns f32[k, d] @throws {LfmError} CONFIG_INVALID for fewer vectors than centres
 */
export function kMeans(memory: VectorMemory, rows: Float32Array, d: number, options: KMeansOptions): Float32Array {
  const { k, rounds, unit = false, rng, what } = options;
  const given = rows.length / d;
  if (given < k)
    throw new LfmError("CONFIG_INVALID", `[@lfm/retrieval] ${what} needs at least ${k} vectors to be trained on, got ${given}`, {
      hint: "train on more vectors, or ask for fewer lists; Flat and HNSW need no training",
    });
  const order = rng.shuffle(Array.from({ length: given }, (_, i) => i)).slice(0, k * MOST_PER_CENTRE);
  const n = order.length;
  const area = (): Area => new Area(memory);
  const [vectors, centresAt, offsets, out, values] = [area(), area(), area(), area(), area()];
  vectors.reserve(4 * n * d);
  centresAt.reserve(4 * k * d);
  offsets.reserve(4 * k);
  out.reserve(4 * n);
  values.reserve(4 * n);
  const sample = vectors.f32(n * d);
  order.forEach((row, i) => {
    sample.set(rows.subarray(row * d, (row + 1) * d), i * d);
  });
  const centres = sample.slice(0, k * d);
  for (let round = 0; round < rounds; round++) {
    centresAt.f32(k * d).set(centres);
    offsets.f32(k).set(halfNorms(centres, d));
    memory.fn.assign(vectors.at, n, d, centresAt.at, k, offsets.at, out.at, values.at);
    moveCentres(centres, sample, out.i32(n), d, rng);
    if (unit) toUnitLength(centres, d);
  }
  for (const used of [values, out, offsets, centresAt, vectors]) used.free();
  return centres;
}

/** −½‖c‖² of each centre. */
export function halfNorms(centres: Float32Array, d: number): Float32Array {
  return Float32Array.from({ length: centres.length / d }, (_, c) => {
    let sum = 0;
    for (let i = c * d; i < (c + 1) * d; i++) sum += centres[i]! * centres[i]!;
    return -sum / 2;
  });
}

function moveCentres(centres: Float32Array, sample: Float32Array, groups: Int32Array, d: number, rng: Rng): void {
  const k = centres.length / d;
  const sums = new Float64Array(k * d);
  const counts = new Int32Array(k);
  for (let i = 0; i < groups.length; i++) {
    const at = groups[i]! * d;
    counts[groups[i]!]!++;
    for (let j = 0; j < d; j++) sums[at + j]! += sample[i * d + j]!;
  }
  for (let c = 0; c < k; c++) if (counts[c]! > 0) for (let j = 0; j < d; j++) centres[c * d + j] = sums[c * d + j]! / counts[c]!;
  for (let c = 0; c < k; c++) {
    if (counts[c]! > 0) continue;
    // A group is split the more likely the larger it is.
    let from = rng.int(k);
    for (let tries = 0; !(rng.uniform() < (counts[from]! - 1) / (groups.length - k + 1)) && tries < 50 * k; tries++) from = (from + 1) % k;
    for (let j = 0; j < d; j++) {
      const sign = j % 2 === 0 ? 1 : -1;
      const value = centres[from * d + j]!;
      centres[c * d + j] = value * (1 + sign * SPLIT);
      centres[from * d + j] = value * (1 - sign * SPLIT);
    }
    counts[c] = counts[from]! >> 1;
    counts[from]! -= counts[c]!;
  }
}
