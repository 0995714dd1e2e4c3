import { type HostTensor, LfmError, type Spec, sym } from "@lfm/core";

/**
 * What hooks read of each sequence beside its tokens ({@link ForwardContext.batch}), by name, without the dimension of the batch:
 * `{ adapter: { dtype: "i32", shape: [] } }` lets every sequence have an adapter of its own.
 */
export type ExampleSpecs = Readonly<Record<string, Spec>>;
/** Its values, by name: [sequences, …]. */
export type ExampleTensors = Readonly<Record<string, HostTensor>>;

/** The types of a whole batch. */
export function batchSpecs(specs: ExampleSpecs = {}): Readonly<Record<string, Spec>> {
  return Object.fromEntries(Object.entries(specs).map(([name, { dtype, shape }]) => [name, { dtype, shape: [sym("batch"), ...shape] }]));
}

/** @throws {LfmError} SHAPE_MISMATCH for tensors that are missing, not asked for, or not of one row a sequence */
export function checkExamples(specs: ExampleSpecs = {}, given: ExampleTensors = {}, sequences: number): ExampleTensors {
  const wrong = (what: string): LfmError => new LfmError("SHAPE_MISMATCH", `[@lfm/models] named tensors of the batch: ${what}`);
  for (const name of Object.keys(specs)) if (!given[name]) throw wrong(`"${name}" is missing`);
  for (const [name, { dtype, shape }] of Object.entries(given)) {
    const spec = specs[name];
    if (!spec) throw wrong(`"${name}" was not declared where the model was compiled`);
    if (dtype !== spec.dtype || shape.length !== spec.shape.length + 1 || shape[0] !== sequences)
      throw wrong(`"${name}" is ${dtype}[${shape}], not ${spec.dtype}[${[sequences, ...spec.shape]}]`);
  }
  return given;
}
