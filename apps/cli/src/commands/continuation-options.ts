import type { Command } from "commander";
import { collect, readAmount, readCount } from "./flag-values.js";

export const wishesHelp =
  "\nWhat no flag says, the model's generation_config.json does, as in transformers: a model whose file says do_sample samples, by --seed.";

/** How a continuation is chosen. */
export function withWishes(command: Command, tokens = "what generation_config.json of the model says, else 20"): Command {
  return command
    .option("--max-new-tokens <n>", `tokens at most [${tokens}]`, readCount)
    .option("--temperature <t>", "sample at this temperature; 0 takes the most likely tokens", readAmount)
    .option("--top-k <k>", "sample among the k most probable", readCount)
    .option("--top-p <p>", "sample among the most probable that hold this share", readAmount)
    .option("--min-p <p>", "sample among those with this share of the most probable one's probability", readAmount)
    .option("--repetition-penalty <x>", "above 1: what has been said is less likely to come again", readAmount)
    .option("--no-repeat-ngram-size <n>", "so many tokens in a row come once at most", readCount)
    .option("--beams <n>", "ways that a beam search follows at once", readCount)
    .option("--stop <text>", "end before this text; give it several times", collect);
}
