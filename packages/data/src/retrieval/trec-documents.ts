import type { LfmError } from "@lfm/core";
import { formatError } from "../files.js";
import type { Passage } from "./types.js";

/** Fields whose text is searched, as Anserini's TrecCollection takes them; the first of the titles becomes the title. */
const TITLES = ["TITLE", "HEADLINE", "HL", "HEAD", "TTL"];
const BODIES = ["LEADPARA", "LP", "DD", "DATE", "TEXT"];

/**
 * Documents in TREC's SGML form: `<DOC><DOCNO>id</DOCNO>…<TEXT>…</TEXT></DOC>`. A document without any of the known fields has all that stands behind
 * its number.
 * @throws {LfmError} FILE_FORMAT naming the line of a document without number, or of one that does not end
 */
export function parseTrecDocuments(path: string, text: string): Passage[] {
  const found: Passage[] = [];
  const open = /<DOC>/gi;
  for (let match = open.exec(text); match; match = open.exec(text)) {
    const start = match;
    const broken = (message: string): LfmError => formatError(path, message, { line: lineAt(text, start.index) });
    const rest = text.slice(open.lastIndex);
    const end = rest.search(/<\/DOC>/i);
    if (end < 0) throw broken("<DOC> has no </DOC>");
    const doc = rest.slice(0, end);
    const number = /<DOCNO>([\s\S]*?)<\/DOCNO>/i.exec(doc);
    const id = number?.[1]?.trim();
    if (!number || !id) throw broken("a document has no <DOCNO>");
    const [titles, bodies] = [TITLES, BODIES].map((names) => names.flatMap((name) => fieldsOf(doc, name)));
    const [title, ...more] = titles!;
    const own = [...more, ...bodies!];
    const body = own.length > 0 || title !== undefined ? own.join("\n") : plain(doc.slice(number.index + number[0].length));
    found.push({ id, text: body, ...(title === undefined ? {} : { title }) });
    open.lastIndex += end;
  }
  if (found.length === 0) throw formatError(path, "holds no <DOC>");
  return found;
}

function fieldsOf(doc: string, name: string): string[] {
  return [...doc.matchAll(new RegExp(`<${name}(?:\\s[^>]*)?>([\\s\\S]*?)</${name}>`, "gi"))]
    .map((match) => plain(match[1]!))
    .filter((text) => text !== "");
}

const ENTITIES: Readonly<Record<string, string>> = { amp: "&", lt: "<", gt: ">", quot: '"', apos: "'" };

/** Without tags, entities as what they stand for. */
function plain(text: string): string {
  return text
    .replace(/<[^>]*>/g, " ")
    .replace(/&(amp|lt|gt|quot|apos);/gi, (_, name: string) => ENTITIES[name.toLowerCase()]!)
    .trim();
}

function lineAt(text: string, index: number): number {
  let line = 1;
  for (let at = text.indexOf("\n"); at >= 0 && at < index; at = text.indexOf("\n", at + 1)) line++;
  return line;
}
