import { readSeeds } from "../commands/flag-values.js";
import type { Kind } from "./kind-flags.js";

/** A student: a folder, or layers of its teacher. */
export const studentKind: Kind = {
  flags: ({ name }) => [
    {
      name,
      value: "<model>",
      text: "folder of a model with config.json; without weights it starts fresh",
      example: `./${name}`,
      unless: "student-layers",
    },
    {
      name: "student-layers",
      value: "<a,b,…>",
      text: "instead: these layers of the teacher, from 0, are the student that begins",
      read: readSeeds,
    },
  ],
  check: ({ student, studentLayers }) =>
    student === undefined || studentLayers === undefined
      ? undefined
      : ["--student and --student-layers both say who learns", "leave one of them out"],
};
