import { join } from "node:path";
import { forEachLine, formatError } from "../files.js";
import { readTextFile } from "../text-file.js";
import type { Passage, Qrels, Query } from "./types.js";

/** True for texts in the form of the SMART collections (Cranfield, CACM, MED …): fields that begin with lines .I, .T, .W … */
export function isSmart(text: string): boolean {
  return /^\s*\.I\s+\S/.test(text);
}

/** One `.I` with its fields; a field that comes twice goes on. @throws {LfmError} FILE_FORMAT naming the line */
function parseSmart(path: string, text: string): { readonly id: string; readonly fields: ReadonlyMap<string, string> }[] {
  const found: { id: string; fields: Map<string, string> }[] = [];
  let field: string | undefined;
  forEachLine(text, (line, number) => {
    const item = /^\.I\s+(\S+)\s*$/.exec(line)?.[1];
    const name = /^\.([A-Z])\s*$/.exec(line)?.[1];
    const last = found.at(-1);
    if (item !== undefined) {
      found.push({ id: item, fields: new Map() });
      field = undefined;
    } else if (last && name !== undefined) {
      field = name;
    } else if (last && field !== undefined) {
      const before = last.fields.get(field);
      last.fields.set(field, before === undefined ? line : `${before}\n${line}`);
    } else throw formatError(path, "expected .I and a number, then fields such as .W", { line: number });
  });
  return found;
}

/**
 * Documents: .T is the title, .W the text. Cranfield's texts begin with their titles: they stand once.
 * @throws {LfmError} FILE_FORMAT naming the line
 */
export function parseSmartDocuments(path: string, text: string): Passage[] {
  return parseSmart(path, text).map(({ id, fields }) => {
    const [title = "", body = ""] = [fields.get("T")?.trim(), fields.get("W")?.trim()];
    const rest = title !== "" && body.startsWith(title) ? body.slice(title.length).trim() : body;
    return { id, text: rest, ...(title === "" ? {} : { title: title.replace(/\s+/g, " ") }) };
  });
}

/** Queries, numbered in their order as the judgements number them: Cranfield's .I leaves numbers out. @throws {LfmError} FILE_FORMAT */
export function parseSmartQueries(path: string, text: string): Query[] {
  return parseSmart(path, text).map(({ fields }, i) => {
    const words = fields.get("W")?.replace(/\s+/g, " ").trim();
    if (!words) throw formatError(path, `query ${i + 1} has no .W`);
    return { id: String(i + 1), text: words };
  });
}

export interface CranfieldSet {
  readonly documents: readonly Passage[];
  readonly queries: readonly Query[];
  /** Grades 4 (complete answer) to 1 (minimum interest). */
  readonly qrels: Qrels;
  /** The same with the rows whose code is −1, one a query, as of grade 1. */
  readonly qrelsWithUncoded: Qrels;
}

/** Best code first in the file, 5 is of no interest. */
const WORST_CODE = 5;

/**
 * Reads Cranfield as it is passed on: cran.all.1400, cran.qry, cranqrel (`query document code` a line, code 1 is best).
 * @throws {LfmError} FILE_IO; FILE_FORMAT naming file and line
 */
export function readCranfield(folder: string): CranfieldSet {
  const read = (name: string): [path: string, text: string] => [join(folder, name), readTextFile(join(folder, name))];
  const [path, text] = read("cranqrel");
  const coded: Record<string, Record<string, number>> = {};
  const all: Record<string, Record<string, number>> = {};
  forEachLine(text, (line, number) => {
    const match = /^\s*(\d+)\s+(\d+)\s+(-1|[1-5])\s*$/.exec(line);
    if (!match) throw formatError(path, "expected: query document code", { line: number });
    const [, query, document, code] = match as unknown as [string, string, string, string];
    const put = (into: typeof all, grade: number): void => {
      into[query] = { ...into[query], [document]: grade };
    };
    if (code === "-1") put(all, 1);
    else {
      put(all, WORST_CODE - Number(code));
      put(coded, WORST_CODE - Number(code));
    }
  });
  return {
    documents: parseSmartDocuments(...read("cran.all.1400")),
    queries: parseSmartQueries(...read("cran.qry")),
    qrels: coded,
    qrelsWithUncoded: all,
  };
}
