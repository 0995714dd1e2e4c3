import { readFileSync } from "node:fs";
import { join } from "node:path";
import {
  add,
  compileModel,
  crossEntropy,
  type Engine,
  grad,
  type Hook,
  type HostTensor,
  i32,
  type Model,
  ortEngine,
  slice,
  zeros,
} from "@lfm/core";
import { calibrationText, idsOfText, loadModel, quantizeBase } from "@lfm/models";
import { describe, expect, it } from "vitest";
import { lfmJson } from "./run-lfm.js";

/** Of the loss of predicting the next token, at the embeddings. */
async function gradientAt(engine: Engine, model: Model, tokens: HostTensor): Promise<Float32Array> {
  const length = tokens.shape[1]!;
  const shift = zeros([1, length, model.info.hiddenSize]);
  const f = await compileModel(
    engine,
    model,
    { tokens: { dtype: "i32", shape: tokens.shape }, shift: { dtype: "f32", shape: shift.shape } },
    ({ tokens, shift }, params, at) => {
      const put: Hook = { matches: (s) => s.kind === "embedding", output: (y) => add(y, shift) };
      const { logits } = at.forward(params, { tokens }, { mode: "eval", hooks: [put] });
      return { g: grad(crossEntropy(slice(logits!, 1, 0, length - 1), slice(tokens, 1, 1, length - 1)), shift) };
    },
  );
  const { g } = await f({ tokens, shift });
  await f.dispose();
  return g.data as Float32Array;
}

function cosine(a: Float32Array, b: Float32Array): number {
  const dot = (x: Float32Array, y: Float32Array): number => x.reduce((sum, v, i) => sum + v * y[i]!, 0);
  return dot(a, b) / Math.sqrt(dot(a, a) * dot(b, b));
}

const [data, model] = [process.env.LFM_DATA ?? "", process.env.LFM_SMOLLM2 ?? ""];

// Without them there is nothing to look at: LFM_DATA holds wikitext2, LFM_SMOLLM2 is the folder of SmolLM2-135M-Instruct.
describe.skipIf(data === "" || model === "")("SmolLM2-135M-Instruct (skipped without LFM_DATA and LFM_SMOLLM2)", () => {
  it("has the perplexity on WikiText-2 that transformers gives it", { timeout: 600_000 }, async () => {
    const text = ["--data", join(data, "wikitext2/valid.txt"), "--max-tokens", "2000", "--window", "1000"];
    const { metrics } = await lfmJson("eval", "--model", model, "--perplexity", ...text);
    expect(Math.abs((metrics as { perplexity: number }).perplexity - 14.96)).toBeLessThan(0.01);
  });

  it("keeps it in 8 bits, and in 4 on the grid that its weights were made on", { timeout: 1_200_000 }, async () => {
    const text = ["--data", join(data, "wikitext2/valid.txt"), "--max-tokens", "2000", "--window", "1000"];
    for (const [base, most] of [
      ["int8", 14.9586 * 1.005],
      ["int4", 14.9586 * 1.001],
    ] as const) {
      const { metrics } = await lfmJson("eval", "--model", model, "--perplexity", ...text, "--base", base);
      expect((metrics as { perplexity: number }).perplexity, base).toBeLessThan(most);
    }
  });

  it("has the gradients and the size that are said of a quantised base", { timeout: 1_200_000 }, async () => {
    const { model: plain, text } = await loadModel(model);
    const ids = [calibrationText, readFileSync(join(data, "wikitext2/valid.txt"), "utf8").slice(0, 4000)].map((t) =>
      idsOfText(text!, t).slice(0, 256),
    );
    const [calibration, read] = ids.map((row) => i32(row, [1, row.length])) as [HostTensor, HostTensor];
    const engine = await ortEngine();
    const exact = await gradientAt(engine, plain, read);
    const trained = await quantizeBase(engine, plain, { use: "training", calibration });
    expect(cosine(await gradientAt(engine, trained.model, read), exact)).toBeGreaterThan(0.98);
    expect(trained.bytes / trained.plainBytes).toBeLessThan(0.6);
    const used = await quantizeBase(engine, plain, { calibration });
    expect(used.bytes / used.plainBytes).toBeLessThan(0.3);
    const four = await quantizeBase(engine, plain, { bits: 4 });
    expect(four.bytes / four.plainBytes).toBeLessThan(0.2);
    expect(four.exact).toBe(1);
  });
});
