import { LfmError } from "@lfm/core";

/** A part of a query: words, a phrase in quotation marks, or the beginning of a word. */
export interface QueryPart {
  readonly kind: "words" | "phrase" | "beginning";
  readonly text: string;
}

/** A pair of quotation marks, or a word that ends with an asterisk. */
const MARKED = /"([^"]*)"|(?<=^|\s)([\p{L}\p{N}][^\s"*]*)\*(?=$|\s)/gu;

/** Takes `"a phrase"` and `word*` out of a query; the rest, a single quotation mark included, are words. */
export function parseQuery(query: string): readonly QueryPart[] {
  const parts: QueryPart[] = [];
  const words = query.replace(MARKED, (_marked, phrase: string | undefined, start: string | undefined) => {
    parts.push(phrase === undefined ? { kind: "beginning", text: start! } : { kind: "phrase", text: phrase });
    return " ";
  });
  return words.trim() === "" ? parts : [{ kind: "words", text: words.trim() }, ...parts];
}

/** Terms that a beginning may stand for, as many as Lucene lets a query have. */
const MOST_TERMS = 1024;

/**
 * The terms that begin so, lower case as analyzers make them.
 * @throws {LfmError} CONFIG_INVALID for a beginning of more terms than a query may have
 */
export function beginning(terms: readonly string[], text: string): readonly string[] {
  const start = text.toLowerCase();
  const found = terms.filter((term) => term.startsWith(start));
  if (found.length <= MOST_TERMS) return found;
  throw new LfmError(
    "CONFIG_INVALID",
    `[@lfm/retrieval] ${found.length} terms begin with "${start}"; a query may stand for ${MOST_TERMS}`,
    {
      hint: "give more letters of the word",
    },
  );
}
