import type { HostTensor, Rng } from "@lfm/core";
import type { IndexFile } from "../index/strings.js";
import type { Codec } from "./codec.js";
import type { Metric } from "./metric.js";
import type { Area, VectorMemory } from "./vector-memory.js";

/** What a structure stands on: rows that a codec made, and the area that the best rows of a search lie in. */
export interface RowSpace {
  readonly memory: VectorMemory;
  readonly codec: Codec;
  readonly codes: Area;
  /** Pairs of f32 score and i32 row, best first after a search. */
  readonly top: Area;
  readonly dimension: number;
  readonly metric: Metric;
  readonly seed: number;
  /** Neighbours that a graph looks at for the links of a new row. */
  readonly efConstruction: number;
  /** What the factory says behind the name: "64" of IVF64. */
  readonly detail: string;
}

export interface Asked {
  /** Address of one byte a row, 0 where it is left out; 0: none is. */
  readonly mask: number;
  /** Rows that are not left out. */
  readonly allowed: number;
  readonly ef?: number;
  readonly probes?: number;
}

/** How rows are gone through for a question. */
export interface Structure {
  readonly trained: boolean;
  /** A row that is removed stays in the way: it is masked, and all is built anew when most rows are. */
  readonly masks: boolean;
  /** Learns from vectors, and has the codec learn. @throws {LfmError} CONFIG_INVALID for too few */
  train(rows: Float32Array, rng: Rng): void;
  /** Encodes vectors as the rows `first` and on, and takes them in. The codes have room for them. */
  add(rows: Float32Array, first: number): void;
  /** Puts the best rows into the top, best first. @returns how many, k at most */
  find(query: Float32Array, k: number, asked: Asked): number;
  /** Rows were taken out and the others moved up: row i was kept[i]. Codes have been moved already. */
  keep(kept: Int32Array): void;
  /** What is to be saved beside the codes, by name. */
  tensors(): Readonly<Record<string, HostTensor>>;
  /** @throws {LfmError} FILE_FORMAT */
  restore(file: IndexFile, count: number): void;
}

export interface StructureKind {
  /** As the factory writes it; what follows the letters is its detail. */
  readonly pattern: RegExp;
  /** @throws {LfmError} CONFIG_INVALID for a codec or a detail that it cannot work with */
  create(space: RowSpace): Structure;
}
