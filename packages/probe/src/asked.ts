import { f32, type HostTensor, LfmError, type Model, type Rng } from "@lfm/core";
import type { BlackBoxInput } from "@lfm/models";
import { batchesOf, type ProbedExamples } from "./inputs.js";

/** Labelled examples as a black box is asked about them. */
export type Questions =
  | { readonly kind: "tokens"; readonly sequences: readonly (readonly number[])[]; readonly labels: readonly number[] }
  | {
      readonly kind: "items";
      readonly items: readonly Float32Array[];
      readonly shape: readonly number[];
      readonly labels: readonly number[];
    };

/**
 * Examples of classes as plain rows: token sequences without their padding, or items of one shape.
 * @throws {LfmError} CAPABILITY_MISSING for examples that are not of classes, or pairs of texts
 */
export function questionsOf({ info }: Pick<Model, "info">, examples: ProbedExamples): Questions {
  const batches = batchesOf(examples);
  const refuse = (what: string): LfmError =>
    new LfmError(
      "CAPABILITY_MISSING",
      `[@lfm/probe] "${examples.name}": ${what}; this attack asks about classes of single texts, pictures or features`,
    );
  const labels = batches.flatMap((b) => {
    if (b.labels?.dtype !== "i32") throw refuse("its answers are no classes");
    return Array.from(b.labels.data, Number);
  });
  if (info.input !== "tokens") {
    if (!batches.every((b) => b.x)) throw refuse("it has no items x");
    const shape = batches[0]!.x!.shape.slice(1);
    const items = batches.flatMap(({ x }) => rowsOf(x!).map((row) => Float32Array.from(row)));
    return { kind: "items", items, shape, labels };
  }
  if (batches.some((b) => b.segments)) throw refuse("it holds pairs of texts");
  const sequences = batches.flatMap(({ tokens, mask }) => {
    if (!tokens || !mask) throw refuse("it has no tokens with a mask");
    const [ids, seen] = [rowsOf(tokens), rowsOf(mask)];
    return ids.map((row, r) => row.filter((_, t) => seen[r]![t]! > 0));
  });
  return { kind: "tokens", sequences, labels };
}

function rowsOf({ shape, data }: HostTensor): number[][] {
  const width = data.length / shape[0]!;
  return Array.from({ length: shape[0]! }, (_, r) => Array.from(data.slice(r * width, (r + 1) * width), Number));
}

/** Items as a black box takes them. @param shape of one */
export function itemBatch(items: readonly Float32Array[], shape: readonly number[]): HostTensor {
  const width = items[0]?.length ?? 0;
  const data = new Float32Array(items.length * width);
  for (const [i, item] of items.entries()) data.set(item, i * width);
  return f32(data, [items.length, ...shape]);
}

/** An example with noise in it, and nothing else changed: normal noise on items, tokens of a text left out with this probability (one stays). */
export function disturbed(questions: Questions, i: number, noise: number, rng: Rng): readonly number[] | Float32Array {
  if (questions.kind === "items") return questions.items[i]!.map((v) => v + noise * rng.normal());
  const own = questions.sequences[i]!;
  const kept = own.filter(() => rng.uniform() >= noise);
  return kept.length > 0 ? kept : [own[rng.int(own.length)]!];
}

/** Rows of one kind as one question. */
export function askable(questions: Questions, rows: readonly (readonly number[] | Float32Array)[]): BlackBoxInput {
  if (questions.kind === "tokens") return rows.map((row) => Array.from(row));
  return itemBatch(rows as readonly Float32Array[], questions.shape);
}
