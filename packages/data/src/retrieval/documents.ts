import { readdirSync, statSync } from "node:fs";
import { join, relative, sep } from "node:path";
import { formatError, ioError } from "../files.js";
import { parseRecords } from "../records.js";
import { readTextFile } from "../text-file.js";
import { isBeirFolder, readBeirDocuments } from "./beir.js";
import { passagesOf } from "./passages.js";
import { isSmart, parseSmartDocuments } from "./smart.js";
import { parseTrecDocuments } from "./trec-documents.js";
import type { Passage } from "./types.js";

const TREC = /\.(trec|trectext|sgml|sgm)$/i;
const RECORDS = /\.(jsonl|ndjson|csv|tsv)$/i;
/** In a folder these hold one document each. */
const TEXTS = /\.(txt|md|markdown|rst)$/i;

/** What documents may lie in, for messages. */
export const documentKinds =
  "a .jsonl, .json, .csv or .tsv with text (and id, title), a .txt with a document a line, TREC's .trec or .sgml, a SMART collection, a BEIR folder, or a folder of such files and texts";

/**
 * Documents of a file or a folder: records (see {@link passagesOf}), TREC's own form, a BEIR folder's corpus, or all files of a folder, where .txt and .md
 * hold one document each, called by its path. Files whose names begin with a dot are passed over.
 * @throws {LfmError} FILE_IO; FILE_FORMAT naming file and line
 */
export function readDocuments(path: string): readonly Passage[] {
  if (!isFolder(path)) return readFile(path);
  if (isBeirFolder(path)) return readBeirDocuments(path);
  const files = readdirSync(path, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => relative(path, join(entry.parentPath, entry.name)))
    .filter((name) => !name.split(sep).some((part) => part.startsWith(".")) && [TREC, RECORDS, TEXTS].some((kind) => kind.test(name)));
  if (files.length === 0) throw formatError(path, "holds no documents", { hint: `give ${documentKinds}` });
  return files.sort().flatMap((name) => {
    const file = join(path, name);
    return TEXTS.test(name) ? [{ id: name.split(sep).join("/"), text: readTextFile(file) }] : readFile(file);
  });
}

function readFile(path: string): readonly Passage[] {
  const text = readTextFile(path, `give ${documentKinds}`);
  if (isSmart(text)) return parseSmartDocuments(path, text);
  return TREC.test(path) ? parseTrecDocuments(path, text) : passagesOf(parseRecords(path, text));
}

/** @throws {LfmError} FILE_IO for what is not there */
function isFolder(path: string): boolean {
  try {
    return statSync(path).isDirectory();
  } catch (cause) {
    throw ioError(path, "cannot be read", cause, `give ${documentKinds}`);
  }
}
