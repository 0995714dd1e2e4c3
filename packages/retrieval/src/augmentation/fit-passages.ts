import type { Passage } from "@lfm/data";

/** Passages that a prompt has room for. */
export interface FittedPassages {
  /** In the order in which they were given. */
  readonly passages: readonly Passage[];
  /** Id of the one whose text was cut, where none fitted whole. */
  readonly cut: string | undefined;
}

/**
 * Takes passages while a budget has room for them, best first: one that is too long is left out and the next is tried. Where not even one fits, the
 * first is cut, between words where it has any; its title stays.
 * @param cost what passages take together, in the unit of the budget; more passages and longer ones take more
 */
export function fitPassages(passages: readonly Passage[], cost: (passages: readonly Passage[]) => number, budget: number): FittedPassages {
  const taken: Passage[] = [];
  for (const passage of passages) if (cost([...taken, passage]) <= budget) taken.push(passage);
  const [first] = passages;
  if (taken.length > 0 || !first) return { passages: taken, cut: undefined };
  let [fits, most] = [0, first.text.length];
  while (most - fits > 1) {
    const middle = (fits + most) >>> 1;
    if (cost([{ ...first, text: first.text.slice(0, middle) }]) <= budget) fits = middle;
    else most = middle;
  }
  const text = cutText(first.text, fits);
  return text === "" || cost([{ ...first, text }]) > budget
    ? { passages: [], cut: undefined }
    : { passages: [{ ...first, text }], cut: first.id };
}

/** At most so many UTF-16 units of a text, up to the last space among them, never half a character. */
function cutText(text: string, length: number): string {
  const whole = text.slice(0, length).replace(/[\uD800-\uDBFF]$/, "");
  let end = whole.length;
  if (!/\s/.test(text.charAt(length))) while (end > 0 && !/\s/.test(whole[end - 1]!)) end--;
  return end === 0 ? whole : whole.slice(0, end).trimEnd();
}
