import { conv2d, f32, type HostTensor, LfmError, linear, type ParamTree, type Rng, reshape, type Tensor, zeros } from "@lfm/core";
import type { TeachingPair } from "./define-teaching.js";
import { type PlacePair, shapesAt } from "./places.js";

/**
 * For each pair of places a matrix f32[teacher's width, student's width] and a bias, that take the student's features to the width of the teacher's.
 * @throws {LfmError} CONFIG_INVALID for a width that the batch decides
 */
export function freshRegressors(
  pairs: readonly PlacePair[],
  { teacher, student, task }: TeachingPair,
  rng: Rng,
): Record<string, HostTensor> {
  const [ofTeacher, ofStudent] = [
    shapesAt(
      teacher,
      task,
      pairs.map((p) => p.teacher.path),
    ),
    shapesAt(
      student,
      task,
      pairs.map((p) => p.student.path),
    ),
  ];
  return Object.fromEntries(
    pairs.flatMap((p, i) => {
      const [out, inputs] = [widthOf(p.teacher.path, ofTeacher), widthOf(p.student.path, ofStudent)];
      return [
        [`${i}.weight`, freshMatrix(rng.split(i), out, inputs)],
        [`${i}.bias`, zeros([out])],
      ];
    }),
  );
}

/** Features at the width of the teacher's: states and vectors by the last axis, maps by their channels (a convolution 1×1). */
export function regress(x: Tensor, own: ParamTree, i: number): Tensor {
  const [weight, bias] = [own[`${i}.weight`]!, own[`${i}.bias`]!];
  return x.rank === 4 ? conv2d(x, reshape(weight, [...weight.shape, 1, 1]), bias) : linear(x, weight, bias);
}

function widthOf(path: string, shapes: ReadonlyMap<string, Tensor["shape"]>): number {
  const shape = shapes.get(path)!;
  const width = shape.length === 4 ? shape[1] : shape.at(-1);
  if (typeof width === "number") return width;
  throw new LfmError("CONFIG_INVALID", `[@lfm/distillation] the width of "${path}" is not known`);
}

/** A matrix f32[out, in] that keeps lengths on average. */
export function freshMatrix(rng: Rng, out: number, inputs: number): HostTensor {
  return f32(rng.normalArray(out * inputs, 1 / Math.sqrt(inputs)), [out, inputs]);
}
