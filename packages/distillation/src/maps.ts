import { avgPool2d, LfmError, type Tensor } from "@lfm/core";

/**
 * Two maps f32[batch, channels, height, width] at one size: the larger is averaged down to the smaller; other ranks as they are.
 * @throws {LfmError} CONFIG_INVALID where one is no multiple of the other, and for maps beside states
 */
export function sameSize(teacher: Tensor, student: Tensor): readonly [teacher: Tensor, student: Tensor] {
  if (teacher.rank !== student.rank)
    throw new LfmError("CONFIG_INVALID", `[@lfm/distillation] layers of ${teacher.rank} and ${student.rank} dimensions are not compared`, {
      hint: "choose other layers, e.g. --layers 0=1",
    });
  if (teacher.rank !== 4) return [teacher, student];
  return [pooledTo(teacher, student), pooledTo(student, teacher)];
}

function pooledTo(x: Tensor, other: Tensor): Tensor {
  const [side, wanted] = [x.dim(2), other.dim(2)] as readonly number[];
  if (side! <= wanted!) return x;
  if (side! % wanted! === 0) return avgPool2d(x, side! / wanted!);
  throw new LfmError("CONFIG_INVALID", `[@lfm/distillation] a map of ${side} places a side is not averaged to one of ${wanted}`, {
    hint: "choose layers whose sizes are multiples of one another, e.g. --layers 0=1",
  });
}
