import type { Command } from "commander";
import { baseOption } from "../inputs/base-flag.js";
import { act, type Invocation, withCommonOptions } from "../program/invocation.js";
import type { VerbOptions } from "../program/job.js";
import { requireOptions, withComputeOptions } from "./compute-options.js";
import { collect, readAmount, readBytes, readCount, readSeed } from "./flag-values.js";

const about = `
POST /v1/completions, /v1/chat/completions (streams too), /v1/embeddings; GET /v1/models, /health, /metrics (Prometheus).
All requests of a language model and of the LoRAs on it are answered in one batch, which they enter and leave at any time.
With --index the last message of the user is looked up; the answer has \`citations\`: number, id, title, text and score of what stood in the prompt.
What a request does not say, generation_config.json of the model does, as for lfm generate.`;

/** `lfm serve --model MODEL [--adapter NAME=DELTA …]`. */
export function registerServe(program: Command, invocation: Invocation): void {
  withComputeOptions(
    withCommonOptions(
      program.command("serve").description("answer over HTTP as OpenAI's API does: language models, adapters on them, encoders"),
    ),
  )
    .option(
      "--model <model>",
      "zoo-lm, a Hugging Face folder, org/name on the hub, MODEL+DELTA, or NAME=MODEL; several, e.g. one that continues text and one that embeds it",
      collect,
    )
    .option("--adapter <dir>", "an adapter on the language model, asked for by its folder's name, or NAME=DIR; several", collect)
    .addOption(baseOption())
    .option("--index <dir>", "chats are answered from the documents of this index, which lfm index wrote, with citations")
    .option("--and <index>", "a second index: reciprocal rank fusion of both")
    .option("--top <n>", "passages looked up for a chat", readCount, 5)
    .option("--budget <n>", "tokens that passages may take in a prompt, the best first", readCount, 1024)
    .option("--host <address>", "where it listens; an address that others reach needs a key", "127.0.0.1")
    .option("--port <n>", "0 takes a free one", readSeed, 8000)
    .option("--api-key <key>", "who asks says it: Authorization: Bearer KEY (better in the environment: LFM_API_KEY)")
    .option("--slots <n>", "answers that are decoded together", readCount, 8)
    .option("--queue <n>", "answers, and texts to embed, that may wait; beyond them it says 429", readCount, 64)
    .option("--max-tokens <n>", "new tokens of an answer at most", readCount, 1024)
    .option("--timeout <s>", "seconds that an answer may take", readAmount, 300)
    .option("--max-body <size>", "most bytes of a request", readBytes, 2 ** 20)
    .option("--drain <s>", "seconds that answers may go on when it is stopped", readAmount, 10)
    .addHelpText("after", about)
    .action((options: VerbOptions) =>
      act(invocation, options, async (console) => {
        await requireOptions(options, ["model"]);
        const apiKey = options.apiKey ?? invocation.io.env.LFM_API_KEY;
        const asked = { ...options, ...(apiKey === undefined ? {} : { apiKey }) };
        return (await import("../program/run-verb.js")).runVerb("serve", asked, console, invocation);
      }),
    );
}
