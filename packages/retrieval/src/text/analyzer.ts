import { LfmError, nearestName } from "@lfm/core";
import { stemmer } from "stemmer";
import { cjkTerms, thaiWords } from "./asian.js";
import { type Language, languages } from "./languages.js";
import { isAscii, tokenize } from "./tokenize.js";

/** english: Lucene's; words: no stop words, no stems; cjk: pairs of neighbouring characters; thai: words of a dictionary; else a language of Snowball. */
export const analyzerNames = ["english", "words", "cjk", "thai", ...Object.keys(languages)] as readonly [AnalyzerName, ...AnalyzerName[]];
export type AnalyzerName = "english" | "words" | "cjk" | "thai" | keyof typeof languages;

/** Turns a text into the terms that are indexed and searched. The name goes into saved indexes. */
export interface Analyzer {
  readonly name: AnalyzerName;
  analyze(text: string): string[];
  /** The term of each word of a text, "" for one that is left out: what stands next to what. Default: no word is left out. */
  places?(text: string): string[];
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
  return remembering("english", (token) => {
    const lower = lowerCase(withoutPossessive(token));
    return stopped.has(lower) ? "" : stem(lower);
  });
}

/** UAX #29 words in lower case, what is elided cut off, stop words left out, stemmed by Snowball. */
function languageAnalyzer(name: keyof typeof languages): Analyzer {
  const { stem, stopWords, elided, locale }: Language = languages[name];
  const stopped = new Set(stopWords);
  return remembering(name, (token) => {
    const lower = locale ? token.toLocaleLowerCase(locale) : lowerCase(token);
    const mark = elided ? lower.search(/['\u2019]/) : -1;
    const word = mark > 0 && elided!.has(lower.slice(0, mark)) ? lower.slice(mark + 1) : lower;
    return stopped.has(word) ? "" : stem(word);
  });
}

/** @param termOf the term of a token, "" for what is left out; asked once per token */
function remembering(name: AnalyzerName, termOf: (token: string) => string): Analyzer {
  const terms = new Map<string, string>();
  const places = (text: string): string[] =>
    tokenize(text).map((token) => {
      let term = terms.get(token);
      if (term === undefined) {
        term = termOf(token);
        terms.set(token, term);
      }
      return term;
    });
  return { name, places, analyze: (text) => places(text).filter((term) => term !== "") };
}

/** UAX #29 words in lower case, nothing else: for names, codes, and languages without a stemmer here. */
export function wordAnalyzer(): Analyzer {
  return { name: "words", analyze: (text) => tokenize(text).map(lowerCase) };
}

/** @throws {LfmError} CONFIG_INVALID for a name that is none of {@link analyzerNames} */
export function analyzerNamed(name: string): Analyzer {
  if (name === "english") return englishAnalyzer();
  if (name === "words") return wordAnalyzer();
  if (name === "cjk") return { name, analyze: (text) => cjkTerms(text).map(lowerCase) };
  if (name === "thai") return { name, analyze: (text) => thaiWords(text).map(lowerCase) };
  if (isLanguage(name)) return languageAnalyzer(name);
  const near = nearestName(name, analyzerNames);
  throw new LfmError("CONFIG_INVALID", `[@lfm/retrieval] there is no analyzer "${name}"`, {
    hint: near ? `did you mean "${near}"?` : `one of ${analyzerNames.join(", ")}`,
  });
}

function isLanguage(name: string): name is keyof typeof languages {
  return Object.hasOwn(languages, name);
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
