import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { createEngine } from "@lfm/core";
import { createPredictor, loadModel, promptIds } from "@lfm/models";
import { describe, expect, it } from "vitest";
import { lfmJson } from "./run-lfm.js";

interface Case {
  readonly prompt?: string;
  readonly chat?: string;
  readonly ids: readonly number[];
  readonly decoded: string;
}
const golden = (name: string): Record<string, unknown> =>
  JSON.parse(readFileSync(new URL(`./golden/${name}.json`, import.meta.url), "utf8")) as Record<string, unknown>;
const limit = { timeout: 600_000 };

/** Greedy continuations of all prompts by the command line, in their order. */
async function greedy(model: string, prompts: readonly string[], ...more: string[]): Promise<readonly string[]> {
  const each = prompts.flatMap((prompt) => ["--prompt", prompt]);
  const { answers } = await lfmJson("generate", "--model", model, ...each, "--temperature", "0", "--max-new-tokens", "32", ...more);
  return (answers as readonly { readonly completion: string }[]).map((a) => a.completion);
}

const smollm = process.env.LFM_SMOLLM2 ?? "";
describe.skipIf(smollm === "")("SmolLM2-135M-Instruct (skipped without LFM_SMOLLM2: npm run smollm2 makes it)", () => {
  const cases = golden("real-smollm2").cases as readonly Case[];
  const of = (kind: "prompt" | "chat") => cases.flatMap((c) => (c[kind] === undefined ? [] : [{ text: c[kind], decoded: c.decoded }]));

  it("goes on with the tokens of transformers, 32 of each of 14 prompts", limit, async () => {
    const plain = of("prompt");
    expect(
      await greedy(
        smollm,
        plain.map((c) => c.text),
      ),
    ).toEqual(plain.map((c) => c.decoded));
  });

  it("answers as with transformers' chat template, 32 tokens of each of 6 questions", limit, async () => {
    const asked = of("chat");
    expect(
      await greedy(
        smollm,
        asked.map((c) => c.text),
        "--chat",
      ),
    ).toEqual(asked.map((c) => c.decoded));
  });
});

const models = process.env.LFM_MODELS ?? "";
describe.each(["glassllm-en", "stories260k"])("%s", (name) => {
  const folder = join(models, name);
  const missing = models === "" || !existsSync(folder);

  it.skipIf(missing)("has the ids, greedy texts and logits of transformers (skipped without LFM_MODELS)", limit, async () => {
    const small = golden("real-small");
    const cases = small[name] as readonly Required<Pick<Case, "prompt" | "ids" | "decoded">>[];
    const { model, text } = await loadModel(folder);
    expect(cases.map((c) => promptIds(text!, c.prompt))).toEqual(cases.map((c) => c.ids));
    expect(
      await greedy(
        folder,
        cases.map((c) => c.prompt),
      ),
    ).toEqual(cases.map((c) => c.decoded));
    const engine = await createEngine();
    const predictor = await createPredictor(engine, model, "next");
    const [logits] = await predictor.predict([[...cases[0]!.ids]]);
    for (const [i, value] of Object.entries(small[`${name} logits`] as Record<string, number>))
      expect(Math.abs(Number(logits!.data[Number(i)]) - value)).toBeLessThan(1e-4);
    await engine.dispose();
  });
});
