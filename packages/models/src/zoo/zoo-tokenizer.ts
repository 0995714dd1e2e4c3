import type { World } from "@lfm/data";
import { type Tokenizer, wordTokenizer } from "@lfm/formats";

/** The world's vocabulary as a tokenizer. */
export function zooTokenizer(world: World): Tokenizer {
  return wordTokenizer(world.vocabulary);
}
