import OpenAI from "openai";
import { describe, expect, it } from "vitest";
import { runLfm } from "../../test/run-lfm.js";
import { languageModel } from "../../test/serve-fixture.js";
import { main } from "../main.js";
import { runHere } from "../program/run-job.js";

/** `lfm serve` until `visit` has seen it. */
async function served(argv: readonly string[], env: Readonly<Record<string, string>>, visit: (url: string) => Promise<void>) {
  let [out, err] = ["", ""];
  const stop = new AbortController();
  const io = { stdout: { write: (t: string) => (out += t) }, stderr: { write: (t: string) => (err += t) }, env };
  const visits: Promise<void>[] = [];
  const code = await main(["serve", "--port", "0", ...argv], {
    io,
    runJob: (verb, request, context) =>
      runHere(verb, request, {
        ...context,
        signal: stop.signal,
        log: (message) => {
          context.log(message);
          visits.push(visit(/http:\S+/.exec(message)![0]).finally(() => stop.abort()));
        },
      }),
  });
  await Promise.all(visits);
  return { code, out, err };
}

describe("lfm serve", () => {
  it("answers until it is stopped, and ends well", async () => {
    const argv = ["--model", `words=${languageModel}`, "--slots", "2", "--threads", "1", "--json"];
    const { code, out, err } = await served(argv, { LFM_API_KEY: "k" }, async (baseURL) => {
      const client = new OpenAI({ baseURL, apiKey: "k", maxRetries: 0 });
      expect((await client.completions.create({ model: "words", prompt: "the cat", max_tokens: 3 })).choices[0]!.text).not.toBe("");
      await expect(new OpenAI({ baseURL, apiKey: "j", maxRetries: 0 }).models.list()).rejects.toMatchObject({ status: 401 });
    });
    expect(code).toBe(0);
    expect(JSON.parse(out)).toMatchObject({ models: ["words"] });
    expect(err).toMatch(/words at http:\/\/127\.0\.0\.1:\d+\/v1 for who has the key/);
  });

  it("says before any work what it cannot serve", async () => {
    for (const [argv, said] of [
      [[], /--model is not given/],
      [["--model", languageModel, "--host", "0.0.0.0"], /needs a key\nhint: LFM_API_KEY=/],
      [["--model", languageModel, "--model", `words=${languageModel}`], /two models are called "words"/],
      [["--model", `=${languageModel}`], /no NAME=FOLDER/],
      [["--model", languageModel, "--model", `b=${languageModel}`, "--adapter", "x"], /there are 2/],
    ] as const) {
      const { code, err } = await runLfm("serve", ...argv);
      expect([code, err]).toEqual([2, expect.stringMatching(said)]);
    }
  });
});
