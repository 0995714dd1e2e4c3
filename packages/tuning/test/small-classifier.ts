import { f32, type HostTensor, i32, type MethodContext, type Model, Rng, referenceEngine } from "@lfm/core";
import { initWeights, mlp } from "@lfm/models";
import { arrayClassificationTask } from "@lfm/train";

/** A network of three layers' worth of numbers, small enough for hand-worked cases. */
const plain = mlp({ input_size: 2, hidden_sizes: [3], output_size: 2 });
export const model: Model = { ...plain, params: initWeights(plain.info, { seed: 2 }) };
export const engine = referenceEngine();
export const context: MethodContext = { engine, rng: new Rng(1), access: ["weights", "grad"], log: () => {}, progress: () => {} };

const classes = (name: string, x: readonly number[], labels: readonly number[]) => {
  const batch = { x: f32(x, [labels.length, 2]), labels: i32(labels) };
  return arrayClassificationTask(name, "features", [2], () => batch, 1);
};
/** What it knew, and what it learns. */
export const old = classes("old", [1, -1, 0.5, 2, -2, 0.3], [0, 1, 1]);
export const task = classes("new", [0.2, 0.9, -1.2, 0.4], [1, 0]);

/** Values as numbers. */
export const numbers = (t: HostTensor): number[] => Array.from(t.data, Number);
