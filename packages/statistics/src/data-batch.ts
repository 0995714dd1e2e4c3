import { type Dim, type HostTensor, type Spec, sym } from "@lfm/core";

/** One batch of what models read: `tokens` i32[n, seq] (with `mask` f32[n, seq]), `pixels` f32[n, c, h, w] or `features` f32[n, width]. */
export type DataBatch = Readonly<Partial<Record<"tokens" | "mask" | "segments" | "pixels" | "features", HostTensor>>>;

/** Types of a batch, its first dimensions symbolic. */
export function batchSpecs(batch: DataBatch): Record<string, Spec> {
  const free = (name: string): Dim[] =>
    name === "tokens" || name === "mask" || name === "segments" ? [sym("batch"), sym("seq")] : [sym("batch")];
  return Object.fromEntries(
    Object.entries(batch).map(([name, t]) => [name, { dtype: t.dtype, shape: [...free(name), ...t.shape.slice(free(name).length)] }]),
  );
}
