import { LfmError, type Model, slice, type Tensor } from "@lfm/core";

/**
 * Whether a student can learn from a teacher at all, before any work.
 * @param compares what is compared: "answers" class by class, or only what stands before them
 * @throws {LfmError} CONFIG_INVALID naming what differs
 */
export function requirePair(teacher: Model, student: Model, compares: "answers" | "features"): void {
  const differ = (what: string, ofTeacher: unknown, ofStudent: unknown, hint: string): LfmError =>
    new LfmError("CONFIG_INVALID", `[@lfm/distillation] ${what}`, { hint, details: { teacher: ofTeacher, student: ofStudent } });
  if (teacher.info.input !== student.info.input) {
    const [a, b] = [teacher.info.input, student.info.input];
    throw differ(`the teacher reads ${a}, the student ${b}`, a, b, `give a student that reads ${a}`);
  }
  for (const name of ["image_size", "channels", "num_channels", "input_size"]) {
    const [a, b] = [teacher.info.config[name], student.info.config[name]];
    if (a !== undefined && b !== undefined && a !== b && teacher.info.input !== "tokens")
      throw differ(
        `${name} is ${String(a)} for the teacher and ${String(b)} for the student`,
        a,
        b,
        "give a student of the teacher's inputs",
      );
  }
  if (compares === "answers") requireSameClasses(teacher, student);
}

/** @throws {LfmError} CONFIG_INVALID naming both numbers */
function requireSameClasses(teacher: Model, student: Model): void {
  const [ofTeacher, ofStudent] = [teacher.info.classes, student.info.classes];
  if (ofTeacher === undefined || ofStudent === undefined || ofTeacher === ofStudent) return;
  throw new LfmError("CONFIG_INVALID", `[@lfm/distillation] the teacher tells ${ofTeacher} classes apart, the student ${ofStudent}`, {
    hint: "give models of the same classes",
    details: { teacher: ofTeacher, student: ofStudent },
  });
}

/**
 * Logits over the ids that both have. Vocabularies are padded to round numbers, each model's to its own: rows behind the shorter one stand for
 * no token. That one tokenizer stands behind both is the caller's to know.
 */
export function commonRows(teacher: Tensor, student: Tensor): readonly [teacher: Tensor, student: Tensor] {
  const last = teacher.shape.length - 1;
  const [a, b] = [teacher.dim(last), student.dim(last)];
  if (typeof a !== "number" || typeof b !== "number" || a === b) return [teacher, student];
  const rows = Math.min(a, b);
  return [slice(teacher, last, 0, rows), slice(student, last, 0, rows)];
}
