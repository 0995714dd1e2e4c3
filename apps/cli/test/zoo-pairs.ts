import { Rng } from "@lfm/core";

const WORDS =
  "kind gentle brave wise honest merry calm loyal noble bright cruel greedy bitter vain rude lazy false grim harsh sullen".split(" ");

/** Pairs that the zoo's language model can learn to tell: which of two answers belongs to two words of one mood. */
export function zooPairs(
  count: number,
  seed: number,
): readonly { readonly prompt: string; readonly chosen: string; readonly rejected: string }[] {
  const rng = new Rng(seed);
  return Array.from({ length: count }, (_, i) => {
    const [first, second] = rng.shuffle(WORDS.slice(i % 2 === 0 ? 0 : 10).slice(0, 10));
    const [chosen, rejected] = i % 2 === 0 ? ["<l0>", "<l1>"] : ["<l1>", "<l0>"];
    return { prompt: `say ${first} and ${second} :`, chosen: chosen!, rejected: rejected! };
  });
}
