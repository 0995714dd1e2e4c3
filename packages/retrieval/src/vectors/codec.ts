import type { HostTensor, Rng } from "@lfm/core";
import type { IndexFile } from "../index/strings.js";
import type { Metric } from "./metric.js";
import { Area, type VectorMemory } from "./vector-memory.js";

/** What kernels call the kinds of rows, see assembly/similarity.ts. */
export const rowKind = { f32Dot: 0, f32L2: 1, i8Dot: 2, i8L2: 3, bits: 4, tables: 5 } as const;

export interface CodecSpace {
  readonly memory: VectorMemory;
  readonly dimension: number;
  readonly metric: Metric;
  /** What the factory says behind the name, e.g. "8x8" of PQ8x8. */
  readonly detail: string;
}

/** How vectors are kept, and what a question is turned into so that kernels can compare it with them. */
export interface Codec {
  /** Bytes of a row. */
  readonly stride: number;
  readonly kind: number;
  /** Numbers of a row, as kernels count them. */
  readonly n: number;
  /** Rows are the vectors themselves, f32. */
  readonly plain: boolean;
  /** Kernels compare two rows with each other, which a graph needs. */
  readonly symmetric: boolean;
  /** Rows of an inverted list hold the difference to its centre. */
  readonly residual: boolean;
  readonly trained: boolean;
  /** @throws {LfmError} CONFIG_INVALID for too few vectors */
  train(rows: Float32Array, rng: Rng): void;
  /** Rows `first` and on of an area that has room for them. */
  encode(rows: Float32Array, into: Area, first: number): void;
  /** The address of the question as kernels want it, until the next one. */
  question(query: Float32Array): number;
  /** What training found, by name. */
  learned(): Readonly<Record<string, HostTensor>>;
  /** @throws {LfmError} FILE_FORMAT */
  restore(file: IndexFile): void;
  /** What is wrong with rows of a file, if anything. */
  flaw(rows: Uint8Array): string | undefined;
}

export interface CodecKind {
  /** As the factory writes it; what follows the name is its detail. */
  readonly pattern: RegExp;
  /** @throws {LfmError} CONFIG_INVALID for a detail that does not fit the dimension */
  create(space: CodecSpace): Codec;
}

/** A codec in which every vector stands for itself: nothing is trained, and a question is a row like any other. */
export function untrainedCodec(
  { memory, dimension }: CodecSpace,
  {
    write,
    ...own
  }: Pick<Codec, "stride" | "kind" | "flaw"> & {
    /** Turns `count` vectors at address `vectors` into rows at address `out`. */
    readonly write: (vectors: number, count: number, out: number) => void;
  },
): Codec {
  const vectors = new Area(memory);
  const asked = new Area(memory);
  const put = (rows: Float32Array, out: number): void => {
    vectors.reserve(4 * rows.length);
    vectors.f32(rows.length).set(rows);
    write(vectors.at, rows.length / dimension, out);
  };
  return {
    ...own,
    n: dimension,
    plain: false,
    symmetric: true,
    residual: false,
    trained: true,
    train: () => {},
    encode: (rows, into, first) => put(rows, into.at + first * own.stride),
    question: (query) => {
      asked.reserve(own.stride);
      put(query, asked.at);
      return asked.at;
    },
    learned: () => ({}),
    restore: () => {},
  };
}
