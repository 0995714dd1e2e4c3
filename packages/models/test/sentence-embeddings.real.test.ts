import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { loadWeight, ortEngine } from "@lfm/core";
import { readSafetensors } from "@lfm/formats";
import { createEncoder, loadModel } from "@lfm/models";
import { expect, it } from "vitest";
import { goldenFolder } from "./golden-fixture.js";

const folder = join(process.env.LFM_MODELS ?? "", "all-MiniLM-L6-v2");
const there = process.env.LFM_MODELS !== undefined && existsSync(join(folder, "config.json"));
const title = "all-MiniLM-L6-v2 gives transformers' sentence embeddings";

it.skipIf(!there)(there ? title : `${title} (skipped: LFM_MODELS names no folder with all-MiniLM-L6-v2)`, async () => {
  const { sentences, max_length } = JSON.parse(readFileSync(join(goldenFolder("minilm"), "golden.json"), "utf8")) as {
    sentences: string[];
    max_length: number;
  };
  const golden = loadWeight(readSafetensors(join(goldenFolder("minilm"), "golden.safetensors")).tensors["sentences/out/unit"]!);
  const { model, tokenizer, sentence, hash } = await loadModel(folder);
  expect(sentence).toEqual({ pooling: "mean", normalize: true, maxLength: max_length });
  const encoder = await createEncoder(await ortEngine({ threads: 1 }), model, tokenizer!, sentence);
  const got = await encoder.encode(sentences);
  expect(got.shape).toEqual(golden.shape);
  const [x, y] = [got.data as Float32Array, golden.data as Float32Array];
  for (let i = 0; i < sentences.length; i++) {
    const row = (t: Float32Array): Float32Array => t.subarray(i * 384, (i + 1) * 384);
    const cosine = dot(row(x), row(y)) / Math.sqrt(dot(row(x), row(x)) * dot(row(y), row(y)));
    expect(cosine, sentences[i]).toBeGreaterThanOrEqual(0.99999);
    expect(dot(row(x), row(x))).toBeCloseTo(1, 5);
  }
  expect(await hash()).toMatch(/^[0-9a-f]{64}$/);
  await encoder.dispose();
});

function dot(a: Float32Array, b: Float32Array): number {
  return a.reduce((s, v, i) => s + v * b[i]!, 0);
}
