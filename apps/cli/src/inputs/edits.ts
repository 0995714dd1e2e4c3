import { isLfmError, LfmError, type Model, throwIfAborted, withDeltas } from "@lfm/core";
import { type EditRecord, editConflicts, editOf, readEdits } from "@lfm/data";
import { type EditRequest, factTokens } from "@lfm/editing";
import { createGenerator } from "@lfm/models";
import { requireText } from "./models.js";
import type { Sources } from "./sources.js";

/** A fact as it was given and as a model reads it. */
export interface WrittenEdit {
  readonly record: EditRecord;
  readonly request: EditRequest;
  /** What the model goes on with before the edit: as many tokens as the target has. */
  readonly before: readonly number[];
}

/** What `--known` may say of facts whose target the model answers already. */
type Known = "refuse" | "skip" | "write";

/**
 * The fact of the flags, or those of --requests, with what the model answers now, the deltas of --delta on it.
 * @throws {LfmError} CONFIG_INVALID for what cannot be written: see {@link factTokens}; for a target that is the answer already, unless --known says
 *   what becomes of it; FILE_FORMAT for a line that is no fact; all of them name the line; FILE_IO
 */
export function openEdits(s: Sources): Promise<readonly WrittenEdit[]> {
  return s.once("edits", async () => {
    const [m, previous] = [await s.reader(), await s.previous()];
    const rules = requireText(m);
    const records = openRecords(s);
    const requests = records.map((record) => factTokens(rules, record));
    const before = await answersTo(withDeltas(m.model, previous ?? []), requests, "before", s);
    return withoutKnown(
      requests.map((request, i) => ({ record: records[i]!, request, before: before[i]! })),
      s,
    );
  });
}

/** What a model goes on with, the most likely tokens, after the prompt of each: as many as its target has. */
export async function answersTo(
  model: Model,
  requests: readonly EditRequest[],
  phase: "before" | "after",
  { context }: Pick<Sources, "context">,
): Promise<readonly (readonly number[])[]> {
  const generator = await createGenerator(context.engine, model);
  const answers: (readonly number[])[] = [];
  try {
    for (const { prompt, target } of requests) {
      throwIfAborted(context.signal, `lfm: answers ${phase} the edit`);
      answers.push((await generator.generate([...prompt], { maxNewTokens: target.length })).tokens);
      if (requests.length > 1) context.progress({ phase, done: answers.length, total: requests.length, unit: "answer" });
    }
    return answers;
  } finally {
    await generator.dispose();
  }
}

/** What is wanted, as records: those of --requests, or one of the flags. @throws {LfmError} CONFIG_INVALID, FILE_FORMAT, FILE_IO */
function openRecords(s: Sources): readonly EditRecord[] {
  const file = s.text("requests");
  if (file !== undefined) return readEdits(file);
  const fields = { prompt: s.text("prompt"), subject: s.text("subject"), target: s.text("target") };
  try {
    return [editOf({ at: "--prompt", fields })];
  } catch (error) {
    if (!isLfmError(error, "FILE_FORMAT")) throw error;
    throw new LfmError("CONFIG_INVALID", error.message, {
      hint: '--prompt "the home of {} is" --subject Ada --target Paris',
      cause: error,
    });
  }
}

/** @throws {LfmError} CONFIG_INVALID */
function withoutKnown(edits: readonly WrittenEdit[], s: Sources): readonly WrittenEdit[] {
  const choice = (s.text("known") ?? "refuse") as Known;
  if (choice === "write") return edits;
  // What an earlier one of them changes is not the answer any more when its turn comes.
  const later = new Set(editConflicts(edits.map((e) => e.record)).map((c) => c.later));
  const known = edits.filter(({ record, request, before }) => before.join() === request.target.join() && !later.has(record));
  if (known.length === 0) return edits;
  const [{ record }] = known as [WrittenEdit];
  if (choice === "refuse")
    throw new LfmError(
      "CONFIG_INVALID",
      `lfm: ${record.at}: the model answers "${record.target}" already to "${record.prompt}"${known.length > 1 ? `, and ${known.length - 1} more targets are its answers` : ""}`,
      {
        hint: "--known skip leaves such facts out, --known write writes them all the same",
        details: { known: known.map((e) => e.record.at) },
      },
    );
  if (known.length === edits.length)
    throw new LfmError("CONFIG_INVALID", `lfm: the model answers all ${edits.length} targets already`, { hint: "--known write" });
  s.job.log(`${known.length} of ${edits.length} facts are what the model answers already, and are left out`);
  return edits.filter((e) => !known.includes(e));
}
