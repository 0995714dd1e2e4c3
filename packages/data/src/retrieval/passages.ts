import { formatError } from "../files.js";
import { parseJsonLines, type RecordFile } from "../records.js";
import { readTextFile } from "../text-file.js";
import type { Passage } from "./types.js";

/** Column names that other tools' files use for the same thing. */
const NAMES = {
  id: ["_id", "id", "doc_id", "docid", "qid"],
  title: ["title"],
  text: ["text", "contents", "body", "sentence", "query"],
} as const;

/**
 * Records with `text`, `id` or `_id` (words or numbers) and `title`, also under the names that BEIR and Pyserini use. Where none has an id they are
 * counted from 1; one with a title alone is found by it.
 * @throws {LfmError} FILE_FORMAT naming file, line and column
 */
export function passagesOf({ columns, records }: RecordFile): Passage[] {
  const column = (of: keyof typeof NAMES): string | undefined => NAMES[of].find((name) => columns.includes(name));
  const [id, title, text] = [column("id"), column("title"), column("text")];
  if (text === undefined)
    throw formatError(records[0]!.at, `the columns are ${columns.join(", ")}; text is missing`, { hint: "call what is to be found text" });
  return records.map(({ at, fields }, i) => {
    const [body, name, own] = [fields[text], title === undefined ? undefined : fields[title], id === undefined ? i + 1 : fields[id]];
    const named = typeof name === "string" && name !== "";
    if (typeof body !== "string" && !(named && (body === null || body === undefined))) throw formatError(at, `no "${text}"`);
    if ((typeof own !== "string" || own === "") && typeof own !== "number") throw formatError(at, `no "${id}"`);
    return { id: String(own), text: typeof body === "string" ? body : "", ...(named ? { title: name } : {}) };
  });
}

/** Passages or queries of a .jsonl file. @throws {LfmError} FILE_IO, FILE_FORMAT */
export function readPassages(path: string): Passage[] {
  return parsePassages(path, readTextFile(path));
}

/** One JSON object a line, each with an id. @throws {LfmError} FILE_FORMAT */
export function parsePassages(path: string, text: string): Passage[] {
  const file = parseJsonLines(path, text);
  if (!NAMES.id.some((name) => file.columns.includes(name))) throw formatError(file.records[0]!.at, "no _id");
  return passagesOf(file);
}
