import { readdirSync, statSync } from "node:fs";
import { basename, join, relative, sep } from "node:path";
import { formatError, ioError } from "../files.js";
import { parseRecords } from "../records.js";
import { readTextFile } from "../text-file.js";
import { isBeirFolder, readBeirDocuments } from "./beir.js";
import { htmlText } from "./html.js";
import { markdownText } from "./markdown.js";
import { passagesOf } from "./passages.js";
import { isSmart, parseSmartDocuments } from "./smart.js";
import { parseTrecDocuments } from "./trec-documents.js";
import type { Passage } from "./types.js";

const TREC = /\.(trec|trectext|sgml|sgm)$/i;
const RECORDS = /\.(jsonl|ndjson|csv|tsv)$/i;
/** These hold one document each. */
const PAGES = [
  { kind: /\.(html?|xhtml)$/i, read: htmlText },
  { kind: /\.(md|markdown)$/i, read: markdownText },
] as const;
/** So do these in a folder. */
const TEXTS = /\.(txt|rst)$/i;

const KINDS = [TREC, RECORDS, TEXTS, ...PAGES.map(({ kind }) => kind)];

/** What documents may lie in, for messages. */
export const documentKinds =
  "a .jsonl, .json, .csv or .tsv with text (and id, title), a .txt with a document a line, TREC's .trec or .sgml, a SMART collection, .html or .md (one document), a BEIR folder, or a folder of such files and texts";

/**
 * Documents of a file or a folder: records (see {@link passagesOf}), TREC's own form, a BEIR folder's corpus, or all files of a folder, where .txt, .html
 * and .md hold one document each, called by its path. Files whose names begin with a dot are passed over.
 * @throws {LfmError} FILE_IO; FILE_FORMAT naming file and line
 */
export function readDocuments(path: string): readonly Passage[] {
  if (!isFolder(path)) return readFile(path, basename(path));
  if (isBeirFolder(path)) return readBeirDocuments(path);
  const files = readdirSync(path, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => relative(path, join(entry.parentPath, entry.name)))
    .filter((name) => !name.split(sep).some((part) => part.startsWith(".")) && KINDS.some((kind) => kind.test(name)));
  if (files.length === 0) throw formatError(path, "holds no documents", { hint: `give ${documentKinds}` });
  return files.sort().flatMap((name) => {
    const file = join(path, name);
    const id = name.split(sep).join("/");
    return TEXTS.test(name) ? [{ id, text: readTextFile(file) }] : readFile(file, id);
  });
}

/** @param id of a file that holds one document */
function readFile(path: string, id: string): readonly Passage[] {
  const text = readTextFile(path, `give ${documentKinds}`);
  const page = PAGES.find(({ kind }) => kind.test(path));
  if (page) return [{ id, ...page.read(text) }];
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
