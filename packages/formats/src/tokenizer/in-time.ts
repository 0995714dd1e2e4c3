import { LfmError } from "@lfm/core";
import { timeLimit } from "../within-time.js";
import { SLOW_HINT } from "./slow-patterns.js";
import type { Tokenizer } from "./tokenizer.js";

/** To make a tokenizer: the largest vocabularies take a second. */
const OPEN_MS = 10_000;
/** To read a text by the clock, and more for each character or token: a hundred times of what they take, and the machine may be busy. */
const READ_MS = 2000;
const EACH_MS = 0.02;

/**
 * A tokenizer with regular expressions of its own, of which nobody knows what they take: it reads in time or not at all.
 * @param path of its file
 * @throws {LfmError} BUDGET_EXCEEDED where making it is late, as all that it does
 */
export function inTime(path: string, open: () => Tokenizer): Tokenizer {
  const limit = timeLimit();
  const run = <T>(ms: number, what: string, work: () => T): T =>
    limit.run(
      ms,
      work,
      () =>
        new LfmError("BUDGET_EXCEEDED", `[@lfm/formats] ${path}: ${what} takes more than ${Math.ceil(ms)} ms by its regular expressions`, {
          hint: SLOW_HINT,
        }),
    );
  const inner = run(OPEN_MS, "to open it", open);
  const read = <T>(texts: readonly string[], work: () => T): T => {
    const length = texts.reduce((n, text) => n + text.length, 0);
    return run(READ_MS + EACH_MS * length, `a text of ${length} characters`, work);
  };
  return {
    ...inner,
    encode: (text, options) => read([text, options?.pair ?? ""], () => inner.encode(text, options)),
    encodeBatch: (texts, options) => read([...texts, ...(options?.pairs ?? [])], () => inner.encodeBatch(texts, options)),
    decode: (ids, options) => {
      const all = [...ids];
      return run(READ_MS + EACH_MS * all.length, `a text of ${all.length} tokens`, () => inner.decode(all, options));
    },
  };
}
