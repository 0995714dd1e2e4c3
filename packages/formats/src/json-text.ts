/**
 * The value of a JSON text as Python's `json` writes and reads it: `NaN`, `Infinity` and `-Infinity` are numbers, and a byte order mark in
 * front says nothing. Everything else is as `JSON.parse` has it.
 * @throws {SyntaxError} as `JSON.parse`
 */
export function parseJson(text: string): unknown {
  const body = text.startsWith("\ufeff") ? text.slice(1) : text;
  try {
    return JSON.parse(body);
  } catch (refused) {
    const mark = unusedMark(body);
    // A list, since a text could stand where a key does.
    const plain = spellNumbers(body, JSON.stringify([mark]));
    if (plain === undefined) throw refused;
    return JSON.parse(plain, (_key, value: unknown) => (Array.isArray(value) && value[0] === mark ? Number.NaN : value));
  }
}

export interface FormatJsonOptions {
  readonly indent?: number;
  /** Keys whose numbers, in lists too, are written with a point: 1.0. Python tells them from whole numbers, and strict readers refuse the others. */
  readonly floats?: ReadonlySet<string>;
}

/** The text of a value as Python's `json` writes it: numbers that are not finite are named, where `JSON.stringify` makes null of them. */
export function formatJson(value: unknown, { indent, floats = new Set() }: FormatJsonOptions = {}): string {
  const plain = JSON.stringify(value, undefined, indent);
  const mark = unusedMark(plain);
  let spelled = false;
  const spell = (part: unknown, isFloat: boolean): unknown => {
    if (typeof part === "number" && (!Number.isFinite(part) || (isFloat && Number.isSafeInteger(part)))) {
      spelled = true;
      return `${mark}${Number.isFinite(part) ? part.toFixed(1) : part}`;
    }
    if (Array.isArray(part)) return part.map((entry) => spell(entry, isFloat));
    if (typeof part !== "object" || part === null) return part;
    return Object.fromEntries(Object.entries(part).map(([key, entry]) => [key, spell(entry, floats.has(key))]));
  };
  const text = JSON.stringify(spell(value, false), undefined, indent);
  return spelled ? text.replaceAll(new RegExp(`"${mark}(NaN|-?Infinity|-?\\d+\\.0)"`, "g"), "$1") : plain;
}

const NUMBERS = /"((?:[^"\\]|\\.)*)"\s*:\s*(\[[^\]"{]*\]|-?\d[\d.eE+-]*)/g;

/** Keys whose numbers, or one in whose list, a JSON text writes as floats that are whole: 1.0, 1e3. `JSON.parse` no longer tells them. */
export function wholeFloats(text: string): Set<string> {
  const keys = [...text.matchAll(NUMBERS)].filter(([, , value]) => /(?:^|[\s[,])-?\d+(?:\.0*(?=$|[\s\],])|(?:\.\d+)?[eE])/.test(value!));
  return new Set(keys.map(([, key]) => key!));
}

/** A word that does not stand in the text. */
function unusedMark(text: string): string {
  for (let i = 0; ; i++) {
    const mark = `number-${i}-`;
    if (!text.includes(mark)) return mark;
  }
}

/** Infinity as a number that JSON has and that is too large for one, NaN as `nan`; undefined where the text has neither outside of strings. */
function spellNumbers(text: string, nan: string): string | undefined {
  const parts: string[] = [];
  let from = 0;
  for (let i = 0; i < text.length; i++) {
    if (text[i] === '"') {
      for (i++; i < text.length && text[i] !== '"'; i++) if (text[i] === "\\") i++;
      continue;
    }
    const word = text.startsWith("NaN", i) ? "NaN" : text.startsWith("Infinity", i) ? "Infinity" : undefined;
    if (word === undefined) continue;
    // The space keeps a digit that follows from becoming part of the number.
    parts.push(text.slice(from, i), word === "NaN" ? nan : "1e999 ");
    i += word.length - 1;
    from = i + 1;
  }
  return parts.length === 0 ? undefined : parts.join("") + text.slice(from);
}
