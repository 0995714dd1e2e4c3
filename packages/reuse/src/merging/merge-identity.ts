import { createHash } from "node:crypto";
import { statSync } from "node:fs";
import { LfmError } from "@lfm/core";
import type { FileLayout } from "@lfm/formats";
import { z } from "zod";
import { type MergePlan, partsOfSource, type TensorSource } from "./plan.js";

const count = z.number().nonnegative();

export const identitySchema = z.strictObject({
  version: z.literal(1),
  /** Files that numbers are read from → bytes, and time of the last change in ms. */
  inputs: z.record(z.string(), z.tuple([count, count])),
  /** Files of the result → bytes, and hash of the header. */
  files: z.record(z.string(), z.tuple([count, z.string()])),
  seed: z.number(),
  /** Hash over what every tensor is made of, by which method, with which parameters. */
  tensors: z.string(),
});

/** What must be the same where a merge goes on: with anything else, tensors of two merges would lie in one file. */
export type MergeIdentity = z.output<typeof identitySchema>;

/**
 * @param of the weights, which are merged bit by bit, or with them what is only copied and written at the end
 * @throws {LfmError} FILE_IO where an input cannot be read
 */
export function mergeIdentity(
  plan: MergePlan,
  layouts: ReadonlyMap<string, FileLayout>,
  of: "weights" | "whole" = "weights",
): MergeIdentity {
  const whole = of === "whole";
  return {
    version: 1,
    inputs: Object.fromEntries([...weightFiles(plan), ...(whole ? Object.values(plan.copies) : [])].map((file) => [file, stateOf(file)])),
    files: Object.fromEntries([...layouts].map(([file, { head, size }]) => [file, [size, sha256(head)]])),
    seed: plan.seed,
    tensors: sha256(JSON.stringify(whole ? [plan.tensors, plan.texts, Object.keys(plan.copies)] : plan.tensors, shortened)),
  };
}

/** The first thing in which two merges differ, in words; undefined where they are the same. */
export function difference(before: MergeIdentity, now: MergeIdentity): string | undefined {
  for (const [file, [bytes, changed]] of Object.entries(now.inputs)) {
    const was = before.inputs[file];
    if (!was) return `${file} was not read before`;
    if (was[0] !== bytes) return `${file} has ${bytes} bytes now, it had ${was[0]}`;
    if (was[1] !== changed) return `${file} was changed at ${new Date(changed).toISOString()}`;
  }
  const gone = Object.keys(before.inputs).find((file) => !(file in now.inputs));
  if (gone !== undefined) return `${gone} is not read any more`;
  if (before.seed !== now.seed) return `the seed is ${now.seed} now, it was ${before.seed}`;
  if (JSON.stringify(before.files) !== JSON.stringify(now.files)) return "the tensors, dtypes or files of the result are others";
  return before.tensors === now.tensors ? undefined : "the method or a parameter is another";
}

/** Files that a merge reads numbers from, sorted. */
export function weightFiles(plan: MergePlan): readonly string[] {
  const files = plan.tensors.flatMap((t) =>
    [...t.models, ...(t.base ? [t.base] : [])].flatMap((input) => [
      ...filesOf(input.source),
      ...(input.statistics ? [input.statistics.source.file] : []),
    ]),
  );
  return [...new Set(files)].sort();
}

/** Files that a source reads. */
function filesOf(source: TensorSource): string[] {
  return source.kind === "stored" ? [source.file] : partsOfSource(source).flatMap(filesOf);
}

function sha256(content: string | Uint8Array): string {
  return createHash("sha256").update(content).digest("hex");
}

/** Lists of rows are long: their hash stands for them. */
function shortened(_: string, value: unknown): unknown {
  return value instanceof Int32Array ? createHash("sha256").update(value).digest("hex") : value;
}

function stateOf(file: string): [number, number] {
  try {
    const { size, mtimeMs } = statSync(file);
    return [size, mtimeMs];
  } catch (cause) {
    throw new LfmError("FILE_IO", `[@lfm/reuse] cannot read ${file}: ${(cause as NodeJS.ErrnoException).code}`, { cause });
  }
}
