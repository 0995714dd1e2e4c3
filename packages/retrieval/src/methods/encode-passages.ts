import { type HostTensor, type MethodContext, throwIfAborted } from "@lfm/core";
import type { Passage } from "@lfm/data";
import { passageText, type TextEncoder } from "../text-encoder.js";

/** Passages of a batch with their vectors, f32[passages, dimension]. */
interface EncodedBatch {
  readonly part: readonly Passage[];
  readonly vectors: HostTensor;
}

/** The vectors of passages, batch by batch. @throws {LfmError} ABORTED between batches */
export async function* encodePassages(
  method: string,
  encoder: TextEncoder,
  passages: readonly Passage[],
  batch: number,
  context: Pick<MethodContext, "signal" | "progress">,
): AsyncGenerator<EncodedBatch> {
  for (let at = 0; at < passages.length; at += batch) {
    throwIfAborted(context.signal, `[@lfm/retrieval] ${method}`);
    const part = passages.slice(at, at + batch);
    yield { part, vectors: await encoder.encode(part.map(passageText), { role: "document" }) };
    context.progress({ phase: "encode", done: at + part.length, total: passages.length, unit: "passages" });
  }
}
