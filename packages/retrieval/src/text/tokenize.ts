/**
 * Words of a text by the rules of Unicode Standard Annex #29 (word boundaries), as Lucene's StandardTokenizer applies them:
 * a token has at least one letter, digit, ideograph or emoji; ideographs and hiragana stand alone; Thai and its kin stay one run.
 * Own rules instead of Intl.Segmenter: that one changes with the ICU of the platform and splits at ":" where UAX #29 does not.
 */

/** Tokens longer than this are cut, in UTF-16 units (Lucene's maxTokenLength). */
export const MAX_TOKEN_LENGTH = 255;

const SOUTH_EAST = "\\p{Script=Thai}\\p{Script=Lao}\\p{Script=Khmer}\\p{Script=Myanmar}\\p{Script=Tai_Le}\\p{Script=New_Tai_Lue}";
const MARKS = "(?:[\\p{M}\\u200D\\u200C\\u00AD\\u200E\\u200F\\u2060\\uFEFF]|\\p{Emoji_Modifier})*";
const LETTER = `(?![\\p{Ideographic}\\u30FC\\uFF70\\u3031-\\u3035\\p{Script=Katakana}\\p{Script=Hiragana}${SOUTH_EAST}\\p{M}])[\\p{Alphabetic}\\u05F3]`;
const IN_WORD = "[:\u00B7\u0387\u055F\u05F4\u2027\uFE13\uFE55\uFF1A.\u2018\u2019\u2024\uFE52\uFF07\uFF0E']";
const IN_NUMBER =
  "[,;\u037E\u0589\u060C\u060D\u066C\u07F8\u2044\uFE10\uFE14\uFE50\uFE54\uFF0C\uFF1B.\u2018\u2019\u2024\uFE52\uFF07\uFF0E']";

// A Hebrew letter keeps a single quote behind it, and a double quote between it and the next.
const hebrew = `(?:(?=\\p{Script=Hebrew})${LETTER}${MARKS}(?:'${MARKS}|"${MARKS}(?=\\p{Script=Hebrew}))?)`;
const letter = `(?:${hebrew}|${LETTER}${MARKS})`;
const digit = `(?:[\\p{Nd}\\u066B]${MARKS})`;
const katakana = `(?:[\\p{Script=Katakana}\\u30FC\\uFF70\\u3031-\\u3035]${MARKS})`;
const joiner = `(?:\\p{Pc}${MARKS})`;
const letters = `${letter}+(?:${IN_WORD}${MARKS}${letter}+)*`;
const digits = `${digit}+(?:${IN_NUMBER}${MARKS}${digit}+)*`;
const core = `(?:${katakana}+|(?:${letters}|${digits})+)`;
// The look-behind keeps a long run of joiners without a word from being tried at each of its places.
const word = `(?:(?<!\\p{Pc})${joiner}+)?${core}(?:${joiner}+${core})*${joiner}*`;
const single = `[\\p{Script=Han}\\p{Script=Hiragana}]${MARKS}`;
const southEast = `[${SOUTH_EAST}][${SOUTH_EAST}\\p{M}]*`;
const picture = "\\p{Extended_Pictographic}(?:\\p{Emoji_Modifier}|\\uFE0F)*";
const emoji = `(?:[0-9#*]\\uFE0F?\\u20E3|\\p{RI}\\p{RI}|${picture}(?:\\u200D\\p{Extended_Pictographic}(?:\\p{Emoji_Modifier}|\\uFE0F)*)*)`;

const UNICODE_WORD = new RegExp(`${emoji}|${word}|${single}|${southEast}`, "gu");
/** The same rules where nothing but ASCII can occur: several times faster. */
const ASCII_WORD =
  /(?:(?<!_)_+)?(?:(?:[a-zA-Z]+(?:[:.'][a-zA-Z]+)*|[0-9]+(?:[,;.'][0-9]+)*)+)(?:_+(?:[a-zA-Z]+(?:[:.'][a-zA-Z]+)*|[0-9]+(?:[,;.'][0-9]+)*)+)*_*/g;

/** The words of a text, in order, unchanged. */
export function tokenize(text: string): string[] {
  const found = text.match(isAscii(text) ? ASCII_WORD : UNICODE_WORD) ?? [];
  if (found.every((token) => token.length <= MAX_TOKEN_LENGTH)) return found;
  return found.flatMap((token) => {
    const parts: string[] = [];
    for (let at = 0; at < token.length; at += MAX_TOKEN_LENGTH) parts.push(token.slice(at, at + MAX_TOKEN_LENGTH));
    return parts;
  });
}

export function isAscii(text: string): boolean {
  for (let i = 0; i < text.length; i++) if (text.charCodeAt(i) > 127) return false;
  return true;
}
