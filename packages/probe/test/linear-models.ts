import { f32, type HostTensor, i32, type MethodContext, type Model, Rng, referenceEngine } from "@lfm/core";
import { cholesky, solveCholesky } from "@lfm/core/linalg";
import { mlp } from "@lfm/models";
import { arrayClassificationTask } from "@lfm/train";
import type { ProbedExamples } from "../src/index.js";

/** Labelled points: those of a hard example say the wrong class, so that examples differ in how hard they are. */
export interface Points {
  readonly x: readonly Float64Array[];
  readonly labels: readonly number[];
}

export const FEATURES = 60;

/** Points of two classes that a plane parts, a fifth of them labelled wrong. */
export function drawPoints(count: number, seed: number, features = FEATURES): Points {
  const [plane, rng] = [new Rng(99), new Rng(seed)];
  const w = Float64Array.from({ length: features }, () => plane.normal());
  const x = Array.from({ length: count }, () => Float64Array.from({ length: features }, () => rng.normal()));
  return {
    x,
    labels: x.map((v) => (v.reduce((sum, a, i) => sum + a * w[i]!, 0) > 0 === rng.uniform() > 0.2 ? 1 : 0)),
  };
}

/** A linear classifier by ridge regression in closed form: training that takes a millisecond, and overfits where points are few. */
export function trainLinear(points: Points, rows: readonly number[], { ridge = 1e-3, scale = 3 } = {}): Model {
  const d = points.x[0]!.length;
  const gram = new Float64Array(d * d);
  const right = new Float64Array(d);
  for (const r of rows) {
    const v = points.x[r]!;
    const y = points.labels[r] === 1 ? 1 : -1;
    for (let i = 0; i < d; i++) {
      right[i] = right[i]! + v[i]! * y;
      for (let j = 0; j <= i; j++) gram[i * d + j] = gram[i * d + j]! + v[i]! * v[j]!;
    }
  }
  const w = solveCholesky(cholesky(gram, ridge), right);
  return linearModel([w.map((v) => -scale * v), w.map((v) => scale * v)]);
}

/** Logits wₖ·x + bₖ. */
export function linearModel(w: readonly ArrayLike<number>[], b: readonly number[] = w.map(() => 0)): Model {
  const plain = mlp({ input_size: w[0]!.length, hidden_sizes: [], output_size: w.length });
  return {
    ...plain,
    params: {
      "fc1.weight": f32(
        w.flatMap((row) => Array.from(row)),
        [w.length, w[0]!.length],
      ),
      "fc1.bias": f32(b),
    },
  };
}

/** Some of the points as a victim is asked about them, 320 at a time. */
export function asExamples(points: Points, rows: readonly number[], name = "points"): ProbedExamples {
  const d = points.x[0]!.length;
  const size = 320;
  const batches = (n: number): Readonly<Record<"x" | "labels", HostTensor>> => {
    const own = rows.slice(n * size, (n + 1) * size);
    return {
      x: f32(
        own.flatMap((r) => Array.from(points.x[r]!)),
        [own.length, d],
      ),
      labels: i32(own.map((r) => points.labels[r]!)),
    };
  };
  return arrayClassificationTask(name, "features", [d], batches, Math.ceil(rows.length / size));
}

export const range = (from: number, to: number): number[] => Array.from({ length: to - from }, (_, i) => from + i);

export const context: MethodContext = {
  engine: referenceEngine(),
  rng: new Rng(1),
  access: ["weights", "grad", "logits", "labels"],
  log: () => {},
  progress: () => {},
};
