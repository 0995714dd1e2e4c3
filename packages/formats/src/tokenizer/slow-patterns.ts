import { LfmError } from "@lfm/core";

/** Characters of an expression; those of tokenizers have some hundreds. */
const LONGEST = 10_000;

/**
 * Looks at the regular expressions of a tokenizer.json before any text is matched with them: a part that repeats without end and itself has a part
 * that does (`(a+)+`) takes time that doubles with every character of a text that does not fit. It looks at the form alone: expressions that are slow
 * in other ways (two ways to match the same text in one repeated choice; squares of the length) are stopped when they are ({@link inTime}).
 * @throws {LfmError} OP_UNSUPPORTED naming the expression
 */
export function refuseSlowPatterns(path: string, description: unknown): void {
  for (const pattern of patternsOf(description)) {
    if (pattern.length > LONGEST)
      throw new LfmError(
        "OP_UNSUPPORTED",
        `[@lfm/formats] ${path}: a regular expression of ${pattern.length} characters, more than ${LONGEST}`,
      );
    if (repeatsRepeats(pattern))
      throw new LfmError(
        "OP_UNSUPPORTED",
        `[@lfm/formats] ${path}: the regular expression "${pattern.slice(0, 100)}" repeats what repeats in it, which can take for ever`,
        { hint: SLOW_HINT },
      );
  }
}

export const SLOW_HINT = "write it without a repetition in a repetition, or take the tokenizer of the model that this one is a copy of";

/** Whether a tokenizer.json brings regular expressions of its own. */
export function hasPatterns(description: unknown): boolean {
  return patternsOf(description).length > 0;
}

function patternsOf(description: unknown): readonly string[] {
  const found: string[] = [];
  const visit = (at: unknown): void => {
    if (typeof at !== "object" || at === null) return;
    const { Regex: pattern } = at as { readonly Regex?: unknown };
    if (typeof pattern === "string") found.push(pattern);
    for (const inner of Object.values(at)) visit(inner);
  };
  const parts = description as Readonly<Record<string, unknown>>;
  for (const name of ["normalizer", "pre_tokenizer", "decoder", "post_processor"]) visit(parts[name]);
  return found;
}

/** Whether a group with an unbounded quantifier holds one. */
export function repeatsRepeats(pattern: string): boolean {
  /** Of each open group, the whole expression first: whether something in it repeats without end. */
  const open: boolean[] = [false];
  for (let i = 0; i < pattern.length; i++) {
    const c = pattern[i]!;
    if (c === "\\") i++;
    else if (c === "[") i = endOfClass(pattern, i);
    else if (c === "(") open.push(false);
    else if (c === ")") {
      const inner = open.length > 1 ? open.pop()! : false;
      const unbounded = isUnbounded(pattern, i + 1);
      if (inner && unbounded) return true;
      if (inner || unbounded) open[open.length - 1] = true;
    } else if (isUnbounded(pattern, i)) open[open.length - 1] = true;
  }
  return false;
}

function isUnbounded(pattern: string, at: number): boolean {
  const c = pattern[at];
  return c === "*" || c === "+" || (c === "{" && /^\{\d+,\}/.test(pattern.slice(at, at + 16)));
}

/** Where a class of characters ends. */
function endOfClass(pattern: string, start: number): number {
  let i = start + 1;
  if (pattern[i] === "^") i++;
  // A bracket in the first place stands for itself.
  if (pattern[i] === "]") i++;
  for (; i < pattern.length && pattern[i] !== "]"; i++) if (pattern[i] === "\\") i++;
  return i;
}
