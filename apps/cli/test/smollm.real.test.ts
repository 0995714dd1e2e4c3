import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { lfmJson } from "./run-lfm.js";

const [data, model] = [process.env.LFM_DATA ?? "", process.env.LFM_SMOLLM2 ?? ""];

// Without them there is nothing to look at: LFM_DATA holds wikitext2, LFM_SMOLLM2 is the folder of SmolLM2-135M-Instruct.
describe.skipIf(data === "" || model === "")("SmolLM2-135M-Instruct (skipped without LFM_DATA and LFM_SMOLLM2)", () => {
  it("has the perplexity on WikiText-2 that transformers gives it", { timeout: 600_000 }, async () => {
    const text = ["--data", join(data, "wikitext2/valid.txt"), "--max-tokens", "2000", "--window", "1000"];
    const { metrics } = await lfmJson("eval", "--model", model, "--perplexity", ...text);
    expect(Math.abs((metrics as { perplexity: number }).perplexity - 14.96)).toBeLessThan(0.01);
  });
});
