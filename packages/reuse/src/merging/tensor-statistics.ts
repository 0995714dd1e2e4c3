/** Values of one input of a tensor, as f32. */
export interface ValueSource {
  /** Bytes of the kernels' memory that it takes while it reads a run of at most `length` elements; room is made for them before. Default: none. */
  room?(length: number): number;
  /** Fills `into`, which lies in the kernels' memory, with the elements from `start` on. */
  read(start: number, into: Float32Array): void;
}

/** What is known of one tensor from its model's data. */
export interface TensorStatistics {
  /** Squared gradients of the tensor's shape, or the Gram matrix [in, in] of what flows into the layer. */
  readonly values: ValueSource;
  /** Gram matrices: how the weight lies. */
  readonly layout?: "out-in" | "in-out";
}
