import { compileModel, type Engine, LfmError, type Model, mul, slice, sum, type Tensor } from "@lfm/core";
import { type EditRequest, editBatch, editBatchSpec, promptRows } from "../inputs.js";
import { captureSite, mlpOutSite, positionMask } from "../keys.js";

/** What methods that write into an MLP use as keys of facts. */
export interface EditKeys {
  /** f32[count, width], a row each. */
  readonly keys: Float32Array;
  readonly count: number;
  /** Inputs of the block's MLP output projection. */
  readonly width: number;
}

const BATCH = 64;

/**
 * What flows into a block's MLP output projection at the subject's last token of each prompt: ROME's and MEMIT's keys, without prefixes.
 * @throws {LfmError} CONFIG_INVALID for no request, CAPABILITY_MISSING for a layer without such a projection
 */
export async function keysOfEdits(engine: Engine, model: Model, layer: number, requests: readonly EditRequest[]): Promise<EditKeys> {
  if (requests.length === 0) throw new LfmError("CONFIG_INVALID", "[@lfm/editing] there is no key without a request");
  const site = mlpOutSite(model, layer);
  const width = site.weight!.in;
  const run = await compileModel(engine, model, editBatchSpec, ({ tokens, mask, subject }, params, at) => {
    let flows: Tensor | undefined;
    const capture = captureSite(site, (x) => {
      flows = x;
    });
    const { prefix } = at.forward(params, { tokens, mask }, { mode: "eval", hooks: [capture] });
    return { keys: sum(mul(slice(flows!, 1, prefix ?? 0, tokens.dim(1)), positionMask(subject, tokens)), 1) };
  });
  try {
    const keys = new Float32Array(requests.length * width);
    for (let from = 0; from < requests.length; from += BATCH) {
      const rows = requests.slice(from, from + BATCH).flatMap((request) => promptRows(request, [[]]));
      keys.set((await run({ ...editBatch(rows) })).keys.data as Float32Array, from * width);
    }
    return { keys, count: requests.length, width };
  } finally {
    await run.dispose();
  }
}
