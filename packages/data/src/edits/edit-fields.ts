import { has, stringOf } from "../examples/fields.js";
import { formatError, isRecord } from "../files.js";
import type { FileRecord } from "../records.js";
import type { EditQuestion } from "./edit-record.js";

/** A text that must say something. @throws {LfmError} FILE_FORMAT for a record without it */
export function wordsOf(r: FileRecord, name: string): string {
  if (!has(r, name)) throw formatError(r.at, `is no fact: no "${name}"`);
  const text = stringOf(r, name);
  if (text.trim() === "") throw formatError(r.at, `is no fact: its "${name}" is empty`);
  return text;
}

/** The first of these names under which a record has something. */
export function presentOf(r: FileRecord, ...names: readonly string[]): string | undefined {
  return names.find((name) => has(r, name));
}

/** An object within a record. @throws {LfmError} FILE_FORMAT */
export function withinOf(r: FileRecord, name: string): FileRecord {
  const value = r.fields[name];
  if (isRecord(value)) return { at: `${r.at}, ${name}`, fields: value };
  throw formatError(r.at, `"${name}" is no object`);
}

/** Lists within lists that a set may have: KnowEdit's answers are lists of names of one thing each. */
const MOST_DEEP = 3;

/** A text, or several, also in lists of lists; nothing where there is nothing. @throws {LfmError} FILE_FORMAT */
export function textsOf(r: FileRecord, name: string): readonly string[] {
  const flat = (value: unknown, depth: number): readonly string[] => {
    if (value === undefined || value === null) return [];
    if (typeof value === "string") return [value];
    if (typeof value === "number" || typeof value === "boolean") return [String(value)];
    if (Array.isArray(value) && depth < MOST_DEEP) return value.flatMap((v) => flat(v, depth + 1));
    throw formatError(r.at, `"${name}" is neither a text nor a list of texts`);
  };
  return flat(r.fields[name], 0);
}

/** Prompts that share their answers. @throws {LfmError} FILE_FORMAT */
export function promptsOf(
  r: FileRecord,
  name: string,
  axis: EditQuestion["axis"],
  kind: string,
  answers: readonly string[],
): readonly EditQuestion[] {
  return asked(textsOf(r, name).map((prompt) => ({ axis, kind, prompt, answers })));
}

/**
 * Questions with their answers, in the ways in which sets write them: a list of `{prompt, ground_truth}`, by kind an object of one of these or a
 * list of them, or lists of prompts and answers side by side.
 * @throws {LfmError} FILE_FORMAT
 */
export function questionsOf(r: FileRecord, axis: EditQuestion["axis"]): readonly EditQuestion[] {
  if (!has(r, axis)) return [];
  if (Array.isArray(r.fields[axis])) return listOf(r, axis, axis, axis);
  const kinds = withinOf(r, axis);
  return Object.keys(kinds.fields).flatMap((kind) => {
    if (!has(kinds, kind)) return [];
    return Array.isArray(kinds.fields[kind]) ? listOf(kinds, kind, axis, kind) : pairsOf(withinOf(kinds, kind), axis, kind);
  });
}

function listOf(r: FileRecord, name: string, axis: EditQuestion["axis"], kind: string): readonly EditQuestion[] {
  return (r.fields[name] as readonly unknown[]).flatMap((entry, i) => {
    if (!isRecord(entry)) throw formatError(`${r.at}, ${name} ${i + 1}`, "is no object with a prompt");
    return pairsOf({ at: `${r.at}, ${name} ${i + 1}`, fields: entry }, axis, kind);
  });
}

function pairsOf(r: FileRecord, axis: EditQuestion["axis"], kind: string): readonly EditQuestion[] {
  if (!Array.isArray(r.fields.prompt))
    return has(r, "prompt") ? asked([{ axis, kind, prompt: stringOf(r, "prompt"), answers: textsOf(r, "ground_truth") }]) : [];
  const prompts = textsOf(r, "prompt");
  const given = r.fields.ground_truth;
  const answers: readonly unknown[] = Array.isArray(given) ? given : prompts.map(() => given);
  if (answers.length !== prompts.length) throw formatError(r.at, `${prompts.length} prompts have ${answers.length} answers`);
  return asked(
    prompts.map((prompt, i) => ({ axis, kind, prompt, answers: textsOf({ at: r.at, fields: { answer: answers[i] } }, "answer") })),
  );
}

/** Sets have places for questions that they leave empty. */
function asked(questions: readonly EditQuestion[]): readonly EditQuestion[] {
  return questions.filter(({ prompt }) => prompt.trim() !== "");
}
