import { LfmError, type Rng } from "@lfm/core";

const ONSETS = "b br c cl d dr f fl g gr h k l m n p pr qu r s sk st t tr v w z".split(" ");
const VOWELS = "a e i o u ae ia ou".split(" ");
const CODAS = ["", "", "l", "m", "n", "r", "s", "th", "ck", "nd"];

/**
 * `count` new pronounceable lower-case words ending in `suffix`, none of which is in `taken`; they are added to `taken`.
 * @throws LfmError CONFIG_INVALID when that many do not exist.
 */
export function inventWords(rng: Rng, count: number, taken: Set<string>, suffix = ""): string[] {
  const words: string[] = [];
  for (let tries = 0; words.length < count; tries++) {
    if (tries > 200 * count + 1000) {
      throw new LfmError("CONFIG_INVALID", `@lfm/data: cannot invent ${count} distinct names ending in "${suffix}"`, {
        hint: "ask for fewer entities or values",
      });
    }
    const first = rng.pick(ONSETS) + rng.pick(VOWELS) + rng.pick(CODAS);
    const word = suffix === "" ? first + rng.pick(ONSETS) + rng.pick(VOWELS) + rng.pick(CODAS) : first + suffix;
    if (taken.has(word)) continue;
    taken.add(word);
    words.push(word);
  }
  return words;
}
