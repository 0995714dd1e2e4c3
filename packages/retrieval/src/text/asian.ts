import { tokenize } from "./tokenize.js";

const CJK = /[\p{Script=Han}\p{Script=Hiragana}\p{Script=Katakana}\p{Script=Hangul}\u30FC\uFF70]+/gu;

/**
 * Chinese, Japanese and Korean without a dictionary, as Lucene's CJKAnalyzer: every two neighbouring characters are a term, one that stands alone is one by
 * itself; widths are made alike (NFKC). Other words come out by UAX #29.
 */
export function cjkTerms(text: string): string[] {
  const out: string[] = [];
  const plain = text.normalize("NFKC");
  let at = 0;
  for (const run of plain.matchAll(CJK)) {
    out.push(...tokenize(plain.slice(at, run.index)));
    const characters = [...run[0]];
    if (characters.length === 1) out.push(run[0]);
    else for (let i = 1; i < characters.length; i++) out.push(`${characters[i - 1]}${characters[i]}`);
    at = run.index + run[0].length;
  }
  return [...out, ...tokenize(plain.slice(at))];
}

const THAI = /\p{Script=Thai}/u;

/** UAX #29 words, runs of Thai taken apart by the dictionary of the platform's ICU (versions differ in some words: index and search with the same). */
export function thaiWords(text: string): string[] {
  const segmenter = new Intl.Segmenter("th", { granularity: "word" });
  return tokenize(text).flatMap((token) =>
    THAI.test(token) ? [...segmenter.segment(token)].filter((s) => s.isWordLike).map((s) => s.segment) : [token],
  );
}
