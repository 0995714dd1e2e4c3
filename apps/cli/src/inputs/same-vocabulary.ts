import { LfmError, type Model } from "@lfm/core";
import type { Examples } from "@lfm/data";
import { hasTokenizer, loadTokenizer, type Tokenizer } from "@lfm/formats";
import { type OpenedModel, requireText } from "./models.js";

/** Texts that are encoded by both. */
const SAMPLE = 32;

/**
 * Two models learn from one another by token only where one tokenizer stands behind both: otherwise the teacher reads other words than stand
 * there, and nothing says so. Rows that are more than the tokenizer has tokens may differ.
 * @param folder of the student; without a tokenizer of its own it gets the teacher's
 * @param examples what is learned on
 * @throws {LfmError} CONFIG_INVALID naming both sides, CAPABILITY_MISSING for a teacher without a tokenizer
 */
export async function requireSameVocabulary(
  teacher: OpenedModel,
  student: { readonly folder: string; readonly model: Model },
  examples: Examples,
): Promise<void> {
  const { tokenizer } = requireText(teacher);
  for (const [whose, { model }] of [
    ["teacher", teacher],
    ["student", student],
  ] as const) {
    const rows = model.info.config.vocab_size;
    if (typeof rows === "number" && rows < tokenizer.vocabSize)
      throw differs(`the ${whose} has rows for ${rows} tokens, and the teacher's tokenizer has ${tokenizer.vocabSize}`);
  }
  if (!hasTokenizer(student.folder)) return;
  const own = await loadTokenizer(student.folder);
  const difference = differenceOf(tokenizer, own, sampleOf(examples));
  if (difference !== undefined) throw differs(`the tokenizers of teacher and student differ: ${difference}`);
}

function differenceOf(teacher: Tokenizer, student: Tokenizer, texts: readonly string[]): string | undefined {
  if (teacher.vocabSize !== student.vocabSize) return `the teacher's has ${teacher.vocabSize} tokens, the student's ${student.vocabSize}`;
  for (let id = 0; id < teacher.vocabSize; id++) {
    const [a, b] = [teacher, student].map((t) => t.decode([id], { skipSpecialTokens: false }));
    if (a !== b) return `${id} is ${JSON.stringify(a)} to the teacher, and ${JSON.stringify(b)} to the student`;
  }
  const text = texts.find((t) => teacher.encode(t).ids.join() !== student.encode(t).ids.join());
  return text === undefined ? undefined : `${JSON.stringify(text.slice(0, 60))} is other tokens to either`;
}

function sampleOf(examples: Examples): readonly string[] {
  if (examples.kind === "messages") return [];
  if (examples.kind === "completion") return examples.rows.slice(0, SAMPLE).map((r) => r.prompt);
  return examples.rows.slice(0, SAMPLE).map((r) => r.text);
}

function differs(message: string): LfmError {
  return new LfmError("CONFIG_INVALID", `lfm: ${message}`, {
    hint: "give a student of the teacher's vocabulary; one whose folder holds its config.json alone gets the teacher's tokenizer",
  });
}
