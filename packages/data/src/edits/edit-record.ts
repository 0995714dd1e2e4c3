/** The forms that sets of edits are published in, and the short one of `lfm edit`. */
export const editForms = ["counterfact", "zsre", "knowedit", "easyedit", "short"] as const;
export type EditForm = (typeof editForms)[number];

/** A question that tells what an edit has done beside its own prompt. */
export interface EditQuestion {
  /** What is looked at: the same fact asked otherwise, what follows from it, or what must stay as it was. */
  readonly axis: "paraphrase" | "portability" | "locality";
  /** Which of these, as the file calls it: `neighborhood`, `Subject_Aliasing`, `Relation_Specificity`. */
  readonly kind: string;
  /** The text up to its answer. */
  readonly prompt: string;
  /** Each of them is right. None: the file names none, and what the model said before the edit is right. */
  readonly answers: readonly string[];
}

/** A fact to write and what to ask afterwards, whatever form it was published in. */
export interface EditRecord {
  /** File and line, or file and number, for messages. */
  readonly at: string;
  readonly form: EditForm;
  readonly subject: string;
  /** The fact up to its answer. */
  readonly prompt: string;
  /** Where in `prompt` the subject begins; absent where the prompt lacks its subject: such a record can be asked, and not be written. */
  readonly subjectStart?: number;
  /** The new answer. */
  readonly target: string;
  /** What is right without the edit, each of them; none where the file does not say. */
  readonly truth: readonly string[];
  /** What the prompt says of its subject: the file's id of it, else the prompt with `{}` where the subject stands; absent where neither is known. */
  readonly relation?: string;
  readonly questions: readonly EditQuestion[];
  /** Beginnings that speak of the subject, for free generation. */
  readonly generation: readonly string[];
  /** The record as it lies in its file: nothing of it is lost, see {@link formatEdits}. */
  readonly fields: Readonly<Record<string, unknown>>;
}

/**
 * Where a subject stands in a prompt: its last mention, for a model has read the most there; one that is part of a longer word counts only where
 * there is no other.
 */
export function placeOfSubject(prompt: string, subject: string): number | undefined {
  if (subject === "") return undefined;
  const places: number[] = [];
  for (let at = prompt.indexOf(subject); at >= 0; at = prompt.indexOf(subject, at + 1)) places.push(at);
  return places.findLast((at) => !inWord(prompt.slice(0, at), prompt.slice(at + subject.length))) ?? places.at(-1);
}

function inWord(before: string, after: string): boolean {
  return /[\p{L}\p{N}]$/u.test(before) || /^[\p{L}\p{N}]/u.test(after);
}
