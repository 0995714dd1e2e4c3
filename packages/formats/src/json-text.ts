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

/** The text of a value as Python's `json` writes it: numbers that are not finite are named, where `JSON.stringify` makes null of them. */
export function formatJson(value: unknown, indent?: number): string {
  const plain = JSON.stringify(value, undefined, indent);
  const mark = unusedMark(plain);
  let named = false;
  const text = JSON.stringify(
    value,
    (_key, part: unknown) => {
      if (typeof part !== "number" || Number.isFinite(part)) return part;
      named = true;
      return `${mark}${part}`;
    },
    indent,
  );
  return named ? text.replaceAll(new RegExp(`"${mark}(NaN|-?Infinity)"`, "g"), "$1") : plain;
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
