import {
  type Checkpoint,
  type CheckpointState,
  firstNonFinite,
  flattenTree,
  type HostTensor,
  hostTensor,
  LfmError,
  mapTree,
} from "@lfm/core";
import type { BestState, Curves, FitState, TrainingState } from "./training.js";

const isTensor = (x: unknown): x is HostTensor => typeof x === "object" && x !== null && "dtype" in x && "data" in x;
const changing = ({ params, optimizer, buffers, carry }: FitState): TrainingState => ({ params, optimizer, buffers, carry });

/** Step, value and number of measurements since, f64[3]: where the best state stands beside its tensors. */
const AT = "at";
const BEST = "best/";
/** Of each curve its points, f64[n, 2]. */
const CURVES = "curves/";

/** @throws {LfmError} NUMERIC_DIVERGED for a state that is not finite: nobody could go on from it */
export async function saveCheckpoint(store: Checkpoint, state: FitState): Promise<void> {
  const tensors = { ...byPath(changing(state)), ...(state.best ? bestTensors(state.best) : {}), ...curveTensors(state.curves ?? {}) };
  const broken = brokenIn(tensors);
  if (broken !== undefined)
    throw new LfmError("NUMERIC_DIVERGED", `[@lfm/train] "${broken}" is no longer finite after step ${state.step}: it is not saved`, {
      hint: "lower the learning rate (--lr) or clip gradients (--clip-norm 1), and start over (--fresh)",
    });
  await store.save({ step: state.step, tensors });
}

function byPath(tree: Parameters<typeof flattenTree<HostTensor>>[0], prefix = ""): Record<string, HostTensor> {
  return Object.fromEntries(flattenTree<HostTensor>(tree, isTensor).map(([path, t]) => [prefix + path, t]));
}

function bestTensors({ params, buffers, step, value, since }: BestState): Record<string, HostTensor> {
  return byPath({ params, buffers, [AT]: hostTensor("f64", [3], Float64Array.of(step, value, since)) }, BEST);
}

function curveTensors(curves: Curves): Record<string, HostTensor> {
  return Object.fromEntries(
    Object.entries(curves).map(([name, points]) => [
      CURVES + name,
      hostTensor("f64", [points.length, 2], Float64Array.from(points.flat())),
    ]),
  );
}

function curvesOf(tensors: CheckpointState["tensors"]): Curves {
  const found: Record<string, (readonly [number, number])[]> = {};
  for (const [path, t] of Object.entries(tensors)) {
    if (!path.startsWith(CURVES)) continue;
    const [points, flat] = [t.shape[0] ?? 0, Array.from(t.data, Number)];
    found[path.slice(CURVES.length)] = Array.from({ length: points }, (_, i) => [flat[2 * i]!, flat[2 * i + 1]!]);
  }
  return found;
}

/**
 * The saved state in the structure of `fresh`, or `fresh` where nothing is saved; with the best state so far, where one was measured.
 * @throws {LfmError} PARENT_MISMATCH when what is saved belongs to other parameters or another optimizer, FILE_FORMAT for what no fit saves
 */
export async function restoreCheckpoint(store: Checkpoint, fresh: FitState): Promise<FitState> {
  const saved = await store.load();
  if (!saved) return fresh;
  const flaw = flawOf(saved);
  if (flaw !== undefined)
    throw new LfmError("FILE_FORMAT", `[@lfm/train] the checkpoint is broken: ${flaw}`, { hint: "--fresh starts over without it" });
  const unused = new Set(Object.keys(saved.tensors).filter((path) => !path.startsWith(CURVES)));
  const mismatch = (what: string): LfmError =>
    new LfmError("PARENT_MISMATCH", `[@lfm/train] the checkpoint does not belong to this run: ${what}`, {
      hint: "use another --out, or delete the checkpoint to start afresh",
    });
  const take = (t: HostTensor, path: string): HostTensor => {
    const found = saved.tensors[path];
    unused.delete(path);
    if (!found) throw mismatch(`it has no "${path}"`);
    if (found.dtype !== t.dtype || found.shape.join() !== t.shape.join())
      throw mismatch(`"${path}" is ${found.dtype}[${found.shape}], here it is ${t.dtype}[${t.shape}]`);
    return found;
  };
  const restored = mapTree<TrainingState, HostTensor, HostTensor>(changing(fresh), isTensor, take);
  const at = saved.tensors[BEST + AT];
  let best: BestState | undefined;
  if (at) {
    const { params, buffers } = fresh;
    const state = mapTree<Pick<BestState, "params" | "buffers">, HostTensor, HostTensor>({ params, buffers }, isTensor, (t, path) =>
      take(t, BEST + path),
    );
    unused.delete(BEST + AT);
    const [step, value, since] = Array.from(at.data, Number) as [number, number, number];
    best = { ...state, step, value, since };
  }
  const [extra] = unused;
  if (extra !== undefined) throw mismatch(`it has "${extra}", which is not trained here`);
  return { step: saved.step, ...restored, ...(best ? { best } : {}), curves: curvesOf(saved.tensors) };
}

function flawOf({ step, tensors }: CheckpointState): string | undefined {
  if (!Number.isSafeInteger(step) || step < 0) return `it is of step ${step}`;
  const broken = brokenIn(tensors);
  return broken === undefined ? undefined : `"${broken}" holds values that are not finite`;
}

/** What stages carry is theirs: an infinity may mean something there. */
function brokenIn(tensors: CheckpointState["tensors"]): string | undefined {
  return firstNonFinite(Object.fromEntries(Object.entries(tensors).filter(([path]) => !path.startsWith("carry/"))));
}
