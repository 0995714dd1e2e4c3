import { type HostTensor, LfmError, type Model, padRows, padValues } from "@lfm/core";
import type { TextRules } from "@lfm/models";
import { type Batch, type LearningTask, scoredPositions } from "@lfm/train";

/**
 * What stands before the first token that counts, of each row of a batch; where all of a row counts, its first tokens.
 * @param opening tokens of such a row that are taken
 */
export function promptsOf({ tokens, weights }: Batch, opening: number): readonly (readonly number[])[] {
  const [rows, seq] = tokens!.shape as readonly [number, number];
  return Array.from({ length: rows }, (_, r) => {
    const at = (t: HostTensor, i: number): number => Number(t.data[r * seq + i]);
    let start = 1;
    while (start < seq && at(weights!, start) === 0) start++;
    let end = seq;
    while (end > 1 && at(weights!, end - 1) === 0) end--;
    // The first token's weight is never read: a row that begins to count at its second counts as a whole.
    const length = start > 1 && start < seq ? start : Math.min(opening, end);
    return Array.from({ length }, (_, i) => at(tokens!, i));
  });
}

/** Prompts with answers as a batch of language modelling that learns the answers alone: tokens, weights and scored positions. */
export function answeredRows(prompts: readonly (readonly number[])[], answers: readonly (readonly number[])[]): Batch {
  const rows = prompts.map((p, i) => [...p, ...answers[i]!]);
  const { tokens } = padRows(rows, { length: 2 });
  const weights = padValues(
    "f32",
    prompts.map((p, i) => [...p.map(() => 0), ...answers[i]!.map(() => 1)]),
    { length: 2 },
  );
  return { tokens, weights, scored: scoredPositions(weights) };
}

/** The tokens that end what a model writes: those its text has, else those of its configuration. */
export function endsOf({ info }: Model, text: TextRules | undefined): readonly number[] {
  if (text) return text.ends;
  const { eos_token_id: own } = info.config;
  const listed: readonly unknown[] = Array.isArray(own) ? own : [own];
  return listed.filter((id): id is number => typeof id === "number");
}

/** @throws {LfmError} CAPABILITY_MISSING for models that do not go on with a text, CONFIG_INVALID for rows that are packed or answer a source */
export function requireLanguageModels(
  id: string,
  { teacher, student, task }: { readonly teacher: Model; readonly student: Model; readonly task: LearningTask },
): void {
  const other = [teacher, student].find((m) => m.info.task !== "causal-lm");
  if (other)
    throw new LfmError(
      "CAPABILITY_MISSING",
      `[@lfm/distillation] ${id} needs models that go on with a text; ${other.info.architecture} is none`,
      {
        hint: "choose a method that compares answers: logit-kd",
      },
    );
  if (!("weights" in task.batch) || "packed" in task.batch || "source" in task.batch)
    throw new LfmError("CONFIG_INVALID", `[@lfm/distillation] ${id} learns rows of text, one example each`, {
      hint: "give examples with text, or with prompt and completion",
    });
}
