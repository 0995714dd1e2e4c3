import { stemmer } from "stemmer";
import { isAscii, tokenize } from "./tokenize.js";

/** Turns a text into the terms that are indexed and searched. The name goes into saved indexes. */
export interface Analyzer {
  readonly name: "english" | "words";
  analyze(text: string): string[];
}

/** Lucene's English stop words (EnglishAnalyzer.ENGLISH_STOP_WORDS_SET). */
export const stopWords: readonly string[] =
  "a an and are as at be but by for if in into is it no not of on or such that the their then there these they this to was will with".split(
    " ",
  );

/**
 * Lucene's English analysis as Anserini uses it: UAX #29 words, possessive 's dropped, lower case, 33 stop words, Porter's stemmer.
 * Stems are remembered: one analyzer serves a whole collection.
 */
export function englishAnalyzer(): Analyzer {
  const stopped = new Set(stopWords);
  // "" stands for a stop word.
  const terms = new Map<string, string>();
  const termOf = (token: string): string => {
    const lower = lowerCase(withoutPossessive(token));
    return stopped.has(lower) ? "" : stem(lower);
  };
  return {
    name: "english",
    analyze: (text) => {
      const out: string[] = [];
      for (const token of tokenize(text)) {
        let term = terms.get(token);
        if (term === undefined) {
          term = termOf(token);
          terms.set(token, term);
        }
        if (term !== "") out.push(term);
      }
      return out;
    },
  };
}

/** UAX #29 words in lower case, nothing else: for names, codes, and languages without a stemmer here. */
export function wordAnalyzer(): Analyzer {
  return { name: "words", analyze: (text) => tokenize(text).map(lowerCase) };
}

export function analyzerNamed(name: Analyzer["name"]): Analyzer {
  return name === "english" ? englishAnalyzer() : wordAnalyzer();
}

function withoutPossessive(token: string): string {
  return /['\u2019\uFF07][sS]$/.test(token) ? token.slice(0, -2) : token;
}

/** Lower case code point by code point, as Lucene does: no final sigma, and İ becomes i. */
function lowerCase(token: string): string {
  if (isAscii(token)) return token.toLowerCase();
  return Array.from(token, (c) => (c === "\u0130" ? "i" : c.toLowerCase())).join("");
}

/** Porter's stemmer; words of one or two letters stay. The package stems "eed" to "e": Porter's rule for -eed forbids the one for -ed. */
function stem(word: string): string {
  return word.length > 2 && word !== "eed" ? stemmer(word) : word;
}
