import { formatTable } from "../render/table.js";
import { bootstrapError } from "./uncertain.js";

/** How one class is told, by its name. A share of nothing is 0, as in scikit-learn. */
interface ClassScore {
  readonly label: string;
  readonly precision: number;
  readonly recall: number;
  readonly f1: number;
  /** Examples of it. */
  readonly support: number;
}

export interface ClassScores {
  readonly classes: readonly ClassScore[];
  /** Mean F1 over the classes that occur, as right answers or as given ones. */
  readonly macroF1: number;
  /** Of {@link macroF1}. */
  readonly macroF1Error: number;
  /** `confusion[right][given]`: examples. */
  readonly confusion: readonly (readonly number[])[];
  /** The one class that every example was given, where there is more than one right answer. */
  readonly onlyClass?: string;
}

/** @param right, given — numbers of classes, one for each example */
export function scoreClasses(labels: readonly string[], right: ArrayLike<number>, given: ArrayLike<number>): ClassScores {
  const rows = right.length;
  const count = (pick: (i: number) => number): Int32Array[] => {
    const matrix = labels.map(() => new Int32Array(labels.length));
    for (let i = 0; i < rows; i++) matrix[right[pick(i)]!]![given[pick(i)]!]!++;
    return matrix;
  };
  const confusion = count((i) => i);
  const classes = scoresOf(confusion).map((score, k) => ({ label: labels[k]!, ...score }));
  const answers = new Set(Array.from(given));
  const [only] = answers;
  return {
    classes,
    macroF1: macroF1(confusion),
    macroF1Error: bootstrapError(rows, (drawn) => macroF1(count((i) => drawn[i]!))),
    confusion: confusion.map((row) => [...row]),
    ...(answers.size === 1 && new Set(Array.from(right)).size > 1 ? { onlyClass: labels[only!]! } : {}),
  };
}

function scoresOf(confusion: readonly Int32Array[]): readonly Omit<ClassScore, "label">[] {
  return confusion.map((row, k) => {
    const support = row.reduce((n, x) => n + x, 0);
    const given = confusion.reduce((n, other) => n + other[k]!, 0);
    const hits = row[k]!;
    const share = (of: number): number => (of === 0 ? 0 : hits / of);
    return { precision: share(given), recall: share(support), f1: support + given === 0 ? 0 : (2 * hits) / (support + given), support };
  });
}

function macroF1(confusion: readonly Int32Array[]): number {
  const there = scoresOf(confusion).filter(({ support }, k) => support > 0 || confusion.some((row) => row[k]! > 0));
  return there.reduce((sum, { f1 }) => sum + f1, 0) / Math.max(1, there.length);
}

/** Classes whose mistakes are shown as a table. */
const SHOWN = 12;

/** Scores by class, and which were taken for which: rows are right answers. */
export function classTables({ classes, confusion }: ClassScores): readonly string[] {
  const share = (value: number): string => value.toFixed(4);
  const scores = formatTable(classes, [
    { title: "class", value: (c) => c.label },
    { title: "precision", value: (c) => share(c.precision), align: "right" },
    { title: "recall", value: (c) => share(c.recall), align: "right" },
    { title: "F1", value: (c) => share(c.f1), align: "right" },
    { title: "examples", value: (c) => String(c.support), align: "right" },
  ]);
  if (classes.length > SHOWN) return [scores];
  const mistakes = formatTable(
    [...classes.keys()],
    [
      { title: "right ╲ given", value: (k) => classes[k]!.label },
      ...classes.map(({ label }, j) => ({ title: label, value: (k: number) => String(confusion[k]![j]!), align: "right" as const })),
    ],
  );
  return [scores, mistakes];
}
