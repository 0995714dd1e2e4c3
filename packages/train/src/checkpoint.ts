import { type Checkpoint, flattenTree, type HostTensor, LfmError, mapTree } from "@lfm/core";
import type { FitState, TrainingState } from "./training.js";

const isTensor = (x: unknown): x is HostTensor => typeof x === "object" && x !== null && "dtype" in x && "data" in x;
const changing = ({ params, optimizer, buffers, carry }: FitState): TrainingState => ({ params, optimizer, buffers, carry });

export async function saveCheckpoint(store: Checkpoint, state: FitState): Promise<void> {
  await store.save({
    step: state.step,
    tensors: Object.fromEntries(flattenTree<HostTensor>(changing(state), isTensor)),
  });
}

/**
 * The saved state in the structure of `fresh`, or `fresh` where nothing is saved.
 * @throws {LfmError} PARENT_MISMATCH when what is saved belongs to other parameters or another optimizer
 */
export async function restoreCheckpoint(store: Checkpoint, fresh: FitState): Promise<FitState> {
  const saved = await store.load();
  if (!saved) return fresh;
  const unused = new Set(Object.keys(saved.tensors));
  const mismatch = (what: string): LfmError =>
    new LfmError("PARENT_MISMATCH", `[@lfm/train] the checkpoint does not belong to this run: ${what}`, {
      hint: "use another --out, or delete the checkpoint to start afresh",
    });
  const restored = mapTree<TrainingState, HostTensor, HostTensor>(changing(fresh), isTensor, (t, path) => {
    const found = saved.tensors[path];
    unused.delete(path);
    if (!found) throw mismatch(`it has no "${path}"`);
    if (found.dtype !== t.dtype || found.shape.join() !== t.shape.join())
      throw mismatch(`"${path}" is ${found.dtype}[${found.shape}], here it is ${t.dtype}[${t.shape}]`);
    return found;
  });
  const [extra] = unused;
  if (extra !== undefined) throw mismatch(`it has "${extra}", which is not trained here`);
  return { step: saved.step, ...restored };
}
