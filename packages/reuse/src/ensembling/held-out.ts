import { compileModel, type Engine, type HostTensor, LfmError, logSoftmax, type Model, throwIfAborted } from "@lfm/core";
import { batchSpecs, type DataBatch } from "@lfm/statistics";

/** A labelled batch that no member was trained on. */
export interface HeldOutBatch {
  readonly input: DataBatch;
  /** i32[n] */
  readonly labels: HostTensor;
}

/** What every member says of every example. */
export interface MemberOutputs {
  readonly classes: number;
  /** By member: f64[examples, classes] of log-probabilities. */
  readonly logProbabilities: readonly Float64Array[];
  /** i32[examples] */
  readonly labels: Int32Array;
}

/**
 * Lets members answer held-out examples.
 * @throws {LfmError} CAPABILITY_MISSING without examples or for answers that are not one class per example, SHAPE_MISMATCH for labels out of range
 */
export async function memberOutputs(
  engine: Engine,
  members: readonly Model[],
  heldOut: readonly HeldOutBatch[],
  signal?: AbortSignal,
): Promise<MemberOutputs> {
  const [first] = heldOut;
  if (!first)
    throw new LfmError("CAPABILITY_MISSING", "[@lfm/reuse] ensemble: this mode learns from held-out examples, and none were given", {
      hint: "give heldOut: labelled batches that no member was trained on",
    });
  const labels = Int32Array.from(heldOut.flatMap((b) => Array.from(b.labels.data, Number)));
  const parts: Float64Array[] = [];
  let classes = 0;
  for (const member of members) {
    const run = await compileModel(engine, member, batchSpecs(first.input), (input, params, at) => {
      const { logits } = at.forward(params, input, { mode: "eval" });
      if (logits?.rank !== 2)
        throw new LfmError(
          "CAPABILITY_MISSING",
          `[@lfm/reuse] ensemble: ${member.info.architecture} gives no logits f32[n, classes] to learn from`,
        );
      return { said: logSoftmax(logits) };
    });
    try {
      const rows: number[] = [];
      for (const batch of heldOut) {
        throwIfAborted(signal, "[@lfm/reuse] ensemble");
        const { said } = await run(batch.input);
        classes = said.shape[1]!;
        for (const v of said.data as Float32Array) rows.push(v);
      }
      parts.push(Float64Array.from(rows));
    } finally {
      await run.dispose();
    }
  }
  const odd = labels.find((y) => !(y >= 0 && y < classes));
  if (odd !== undefined || parts.some((p) => p.length !== labels.length * classes))
    throw new LfmError(
      "SHAPE_MISMATCH",
      `[@lfm/reuse] ensemble: ${labels.length} labels do not fit answers of ${classes} classes${odd === undefined ? "" : `: ${odd}`}`,
    );
  return { classes, logProbabilities: parts, labels };
}
