import { formatError } from "../files.js";
import { readRecords } from "../records.js";
import type { Passage } from "./types.js";

const NAMES = { id: ["_id", "id", "doc_id", "docid"], title: ["title"], text: ["text", "contents", "body", "sentence"] } as const;

/**
 * Documents or queries of a .jsonl, .json, .csv, .tsv or .txt file (see {@link readRecords}): `text`, `id` or `_id` (words or numbers), `title`; also
 * under the names that BEIR and Pyserini use. Where a file has no ids its rows are counted from 1.
 * @throws {LfmError} FILE_IO, FILE_FORMAT naming file, line and column
 */
export function readDocuments(path: string): readonly Passage[] {
  const { columns, records } = readRecords(path);
  const column = (of: keyof typeof NAMES): string | undefined => NAMES[of].find((name) => columns.includes(name));
  const [id, title, text] = [column("id"), column("title"), column("text")];
  if (text === undefined)
    throw formatError(path, `the columns are ${columns.join(", ")}; text is missing`, { hint: "call what is to be found text" });
  return records.map(({ at, fields }, i) => {
    const [body, name, own] = [fields[text], title === undefined ? undefined : fields[title], id === undefined ? i + 1 : fields[id]];
    if (typeof body !== "string") throw formatError(at, `no "${text}"`);
    if ((typeof own !== "string" || own === "") && typeof own !== "number") throw formatError(at, `no "${id}"`);
    return { id: String(own), text: body, ...(typeof name === "string" && name !== "" ? { title: name } : {}) };
  });
}
