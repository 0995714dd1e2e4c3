import { createHash } from "node:crypto";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { compileModel, type HostTensor, loadWeight, ortEngine } from "@lfm/core";
import { convertGguf, readSafetensors, readWeights } from "@lfm/formats";
import { loadModel } from "@lfm/models";
import { afterAll, describe, expect, it } from "vitest";
import { goldenFolder, maxDifference } from "./golden-fixture.js";

const from = goldenFolder("gguf");
const json = (path: string): unknown => JSON.parse(readFileSync(path, "utf8"));
const { tolerance, models } = json(join(from, "golden.json")) as {
  readonly tolerance: number;
  readonly models: Readonly<
    Record<string, { readonly config: Readonly<Record<string, unknown>>; readonly tensors: Readonly<Record<string, string>> }>
  >;
};
const logits = readSafetensors(join(from, "logits.safetensors")).tensors;
const folder = mkdtempSync(join(tmpdir(), "lfm-gguf-models-"));
afterAll(() => rmSync(folder, { recursive: true }));

const hashOf = ({ data }: HostTensor): string =>
  createHash("sha256")
    .update(new Uint8Array(data.buffer, data.byteOffset, data.byteLength))
    .digest("hex")
    .slice(0, 16);

describe.each(Object.keys(models))("the GGUF file of a %s", (name) => {
  const { config, tensors } = models[name]!;
  const file = join(from, `${name}.gguf`);

  it("becomes the weights and the config that it was made of", async () => {
    const out = join(folder, name);
    const { parameters, tokenizer } = await convertGguf(file, out);
    const { weights } = readWeights(out);
    expect(Object.fromEntries(Object.entries(weights).map(([n, w]) => [n, hashOf(w.read())]))).toEqual(tensors);
    expect(json(join(out, "config.json"))).toMatchObject({ ...config, vocab_size: 97, dtype: "float32" });
    expect(parameters).toBe(Object.values(weights).reduce((n, w) => n + w.read().data.length, 0));
    expect(tokenizer).toBe(false);
  });

  it("is cut into shards, and rounded where another dtype is asked for", async () => {
    const [whole, cut] = [join(folder, name), join(folder, `${name}-cut`)];
    const { files } = await convertGguf(file, cut, { dtype: "bf16", maxShardBytes: 20_000 });
    expect(files).toContain("model.safetensors.index.json");
    const [exact, rounded] = [readWeights(whole).weights, readWeights(cut).weights];
    expect(Object.keys(rounded).sort()).toEqual(Object.keys(exact).sort());
    for (const [n, w] of Object.entries(rounded)) {
      expect(w.dtype).toBe("bf16");
      const bits = w.read().data as Uint16Array;
      const words = new Uint32Array((exact[n]!.read().data as Float32Array).buffer);
      // Rounded to nearest even: at most half a unit of the last place away.
      expect(bits.every((b, i) => Math.abs(b * 65536 - words[i]!) <= 32768)).toBe(true);
    }
  });
});

// Gemma 1 converts for others: no architecture here runs it.
describe.each(Object.keys(models).filter((name) => name !== "gemma"))("a converted %s", (name) => {
  it("gives transformers' logits", async () => {
    const out = join(folder, `${name}-run`);
    await convertGguf(join(from, `${name}.gguf`), out);
    const { model } = await loadModel(out);
    const engine = await ortEngine({ threads: 1 });
    const tokens = loadWeight(logits[`${name}/in/tokens`]!);
    const run = await compileModel(engine, model, { tokens: { dtype: "i32", shape: tokens.shape } }, (input, params, m) => ({
      logits: m.forward(params, input, { mode: "eval", hooks: [] }).logits!,
    }));
    const { logits: ours } = await run({ tokens });
    expect(maxDifference(ours, loadWeight(logits[`${name}/out/logits`]!))).toBeLessThan(tolerance);
    await engine.dispose();
  });
});
