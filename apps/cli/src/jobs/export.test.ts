import { copyFileSync, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { compileModel, f32, type HostTensor, i32, type Model, Rng, referenceEngine, sym, withDeltas } from "@lfm/core";
import { convertGguf, readPeftAdapter, saveDelta, writePeftAdapter } from "@lfm/formats";
import { loadModel } from "@lfm/models";
import { fromPeft } from "@lfm/tuning";
import { InferenceSession, Tensor } from "onnxruntime-node";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { lfmJson, runLfm } from "../../test/run-lfm.js";

const goldens = join(import.meta.dirname, "../../../../packages/models/test/golden");
const folder = mkdtempSync(join(tmpdir(), "lfm-export-"));
const at = (name: string): string => join(folder, name);
const [base, adapter] = [at("llama"), at("adapter")];
afterAll(() => rmSync(folder, { recursive: true }));

const rng = new Rng(3);
const q = "model.layers.0.self_attn.q_proj";
const v = "model.layers.1.self_attn.v_proj";
const factors = {
  [`${q}.lora_A.weight`]: f32(rng.normalArray(2 * 32), [2, 32]),
  [`${q}.lora_B.weight`]: f32(rng.normalArray(32 * 2), [32, 2]),
  [`${v}.lora_A.weight`]: f32(rng.normalArray(4 * 32), [4, 32]),
  [`${v}.lora_B.weight`]: f32(rng.normalArray(16 * 4), [16, 4]),
};

beforeAll(async () => {
  await convertGguf(join(goldens, "gguf/llama.gguf"), base);
  // Two ranks and two scales: 3/2 and 8/4.
  const config = {
    peft_type: "LORA",
    task_type: "CAUSAL_LM",
    r: 2,
    lora_alpha: 3,
    rank_pattern: { v_proj: 4 },
    alpha_pattern: { v_proj: 8 },
  } as const;
  await writePeftAdapter(adapter, { config, tensors: factors });
});

const rows = [
  [5, 9, 2, 40, 7],
  [8, 1, 96, 0, 0],
];
const mask = [
  [1, 1, 1, 1, 1],
  [1, 1, 1, 0, 0],
];

/** What plain ONNX Runtime says, by the names that other programs use. */
async function plainOnnx(path: string, names: Readonly<Record<string, readonly (readonly number[])[]>>): Promise<Record<string, Tensor>> {
  const session = await InferenceSession.create(join(path, "model.onnx"));
  const feeds = Object.fromEntries(
    Object.entries(names).map(([name, value]) => [name, new Tensor("int64", BigInt64Array.from(value.flat(), BigInt), [2, 5])]),
  );
  const out = await session.run(feeds);
  await session.release();
  return out as Record<string, Tensor>;
}

async function logitsOf(model: Model): Promise<HostTensor> {
  const engine = referenceEngine();
  const shape = [sym("batch"), sym("seq")];
  const run = await compileModel(engine, model, { tokens: { dtype: "i32", shape }, mask: { dtype: "f32", shape } }, (input, params, m) => ({
    logits: m.forward(params, input, { mode: "eval", hooks: [] }).logits!,
  }));
  return (await run({ tokens: i32(rows.flat(), [2, 5]), mask: f32(mask.flat(), [2, 5]) })).logits;
}

/** Largest difference at positions that count. */
function difference(a: ArrayLike<number>, b: HostTensor): number {
  const width = b.shape.at(-1)!;
  let worst = 0;
  for (let i = 0; i < b.data.length; i++)
    if (mask.flat()[Math.floor(i / width)] === 1) worst = Math.max(worst, Math.abs(a[i]! - Number(b.data[i])));
  return worst;
}

describe("lfm export --onnx", () => {
  it("gives plain ONNX Runtime the model's logits, padded rows and all", async () => {
    const said = await lfmJson("export", base, "--onnx", at("onnx"));
    expect(said).toMatchObject({ inputs: ["input_ids", "attention_mask"], outputs: ["logits"], external: false });
    const { logits } = await plainOnnx(at("onnx"), { input_ids: rows, attention_mask: mask });
    expect(logits!.dims).toEqual([2, 5, 97]);
    expect(difference(logits!.data as Float32Array, await logitsOf((await loadModel(base)).model))).toBeLessThan(1e-5);
    expect(existsSync(join(at("onnx"), "config.json"))).toBe(true);
    expect(await runLfm("export", base, "--onnx", at("onnx"))).toMatchObject({ code: 2, err: expect.stringContaining("is there already") });
    expect(await lfmJson("export", base, "--onnx", at("onnx"), "--overwrite")).toMatchObject({ out: at("onnx") });
  });

  it("puts what a delta changes in weights into them, and keeps what a prompt does", async () => {
    const { model, hash } = await loadModel(base);
    const lora = withDeltas(model, [fromPeft(adapter, model)]);
    await lfmJson("export", `${base}+${adapter}`, "--onnx", at("onnx-lora"));
    const tuned = await plainOnnx(at("onnx-lora"), { input_ids: rows, attention_mask: mask });
    expect(difference(tuned.logits!.data as Float32Array, await logitsOf(lora))).toBeLessThan(1e-4);
    expect(difference(tuned.logits!.data as Float32Array, await logitsOf(model))).toBeGreaterThan(0.1);

    const config = { peft_type: "PROMPT_TUNING", task_type: "CAUSAL_LM", num_virtual_tokens: 3 } as const;
    await writePeftAdapter(at("prompt"), { config, tensors: { prompt_embeddings: f32(rng.normalArray(3 * 32), [3, 32]) } });
    const prompt = fromPeft(at("prompt"), model, { parent: await hash() });
    await saveDelta(at("prompt-delta"), prompt);
    await lfmJson("export", `${base}+${at("prompt-delta")}`, "--onnx", at("onnx-prompt"));
    const prompted = await plainOnnx(at("onnx-prompt"), { input_ids: rows, attention_mask: mask });
    expect(prompted.logits!.dims).toEqual([2, 5, 97]);
    const whole = await logitsOf(withDeltas(model, [prompt]));
    const own = whole.shape[1]! - 5;
    const cut = Float32Array.from({ length: 2 * 5 * 97 }, (_, i) => {
      const [row, rest] = [Math.floor(i / (5 * 97)), i % (5 * 97)];
      return Number(whole.data[(row * whole.shape[1]! + own) * 97 + rest]);
    });
    expect(difference(prompted.logits!.data as Float32Array, { dtype: "f32", shape: [2, 5, 97], data: cut })).toBeLessThan(1e-4);
  });

  it("names inputs and outputs of encoders, and refuses what would be two models", async () => {
    // A fixture has more than a model in it.
    mkdirSync(at("bert"));
    for (const name of ["config.json", "model.safetensors"]) copyFileSync(join(goldens, "bert-encoder", name), join(at("bert"), name));
    const said = await lfmJson("export", at("bert"), "--onnx", at("onnx-bert"));
    expect(said).toMatchObject({
      inputs: ["input_ids", "attention_mask", "token_type_ids"],
      outputs: expect.arrayContaining(["last_hidden_state"]),
    });
    const out = await plainOnnx(at("onnx-bert"), { input_ids: rows, attention_mask: mask, token_type_ids: mask });
    expect(out.last_hidden_state!.dims.slice(0, 2)).toEqual([2, 5]);
    mkdirSync(at("t5"));
    for (const name of ["config.json", "model.safetensors"]) copyFileSync(join(goldens, "t5", name), join(at("t5"), name));
    expect(await runLfm("export", at("t5"), "--onnx", at("onnx-t5"))).toMatchObject({
      code: 2,
      err: expect.stringContaining("an encoder and a decoder"),
    });
    expect(existsSync(at("onnx-t5"))).toBe(false);
  });
});

describe("lfm export --gguf-lora and --peft", () => {
  it("writes a LoRA under llama.cpp's names: rows of queries in pairs, one α, scales of their own in B", async () => {
    const said = await lfmJson("export", `${base}+${adapter}`, "--gguf-lora", at("lora.gguf"));
    expect(said).toMatchObject({ layers: 2, out: at("lora.gguf") });
    const { openGguf } = await import("../../../../packages/formats/src/gguf/read-gguf.js");
    const file = openGguf(at("lora.gguf"));
    expect(Object.fromEntries(file.metadata)).toEqual({
      "general.type": "adapter",
      "general.architecture": "llama",
      "adapter.type": "lora",
      "adapter.lora.alpha": 3,
    });
    const values = (name: string): Float32Array => {
      const t = file.tensors.get(name)!;
      const bytes = new Uint8Array(t.bytes);
      t.read(bytes, 0);
      return new Float32Array(bytes.buffer);
    };
    expect([...file.tensors.keys()].sort()).toEqual([
      "blk.0.attn_q.weight.lora_a",
      "blk.0.attn_q.weight.lora_b",
      "blk.1.attn_v.weight.lora_a",
      "blk.1.attn_v.weight.lora_b",
    ]);
    expect(file.tensors.get("blk.1.attn_v.weight.lora_b")!.shape).toEqual([16, 4]);
    expect(values("blk.0.attn_q.weight.lora_a")).toEqual(factors[`${q}.lora_A.weight`]!.data);
    // Heads of 8 rows: 0, 4, 1, 5 …
    const [b, paired] = [factors[`${q}.lora_B.weight`]!.data, values("blk.0.attn_q.weight.lora_b")];
    const order = Array.from({ length: 32 }, (_, row) => row - (row % 8) + (row % 2) * 4 + Math.floor((row % 8) / 2));
    for (const [row, from] of order.entries()) for (const k of [0, 1]) expect(paired[2 * row + k]).toBeCloseTo(Number(b[2 * from + k]), 6);
    // llama.cpp multiplies by 3/4; 8/4 is meant.
    const [own, scaled] = [factors[`${v}.lora_B.weight`]!.data, values("blk.1.attn_v.weight.lora_b")];
    for (const [i, x] of scaled.entries()) expect(x * (3 / 4)).toBeCloseTo(Number(own[i]) * 2, 5);
    file.close();
    expect(await runLfm("export", `${base}+${adapter}`, "--gguf-lora", at("lora.gguf"))).toMatchObject({
      code: 2,
      err: expect.stringContaining("is there already"),
    });
  });

  it("replaces an adapter, and no other file", async () => {
    const again = (out: string): Promise<{ code: number; err: string }> =>
      runLfm("export", `${base}+${adapter}`, "--gguf-lora", out, "--overwrite");
    expect((await again(at("lora.gguf"))).code).toBe(0);
    expect((await again(join(base, "config.json"))).code).toBe(2);
  });

  it("writes a delta for PEFT that means the same", async () => {
    await lfmJson("export", `${base}+${adapter}`, "--peft", at("peft"));
    expect(readPeftAdapter(at("peft")).config.peft_type).toBe("LORA");
    const { model } = await loadModel(base);
    const [before, after] = [
      await logitsOf(withDeltas(model, [fromPeft(adapter, model)])),
      await logitsOf(withDeltas(model, [fromPeft(at("peft"), model)])),
    ];
    expect(difference(after.data as Float32Array, before)).toBeLessThan(1e-4);
    expect(JSON.parse(readFileSync(join(at("peft"), "adapter_config.json"), "utf8"))).toMatchObject({ base_model_name_or_path: base });
  });

  it("refuses by name what has no such form", async () => {
    const refused = (...argv: string[]): Promise<{ code: number; err: string }> => runLfm("export", ...argv);
    const prompt = `${base}+${at("prompt-delta")}`;
    expect(await refused(base)).toMatchObject({
      code: 2,
      err: expect.stringContaining("one of --onnx, --gguf-lora, --peft and --adapters"),
    });
    expect(await refused(base, "--onnx", at("x"), "--peft", at("y"))).toMatchObject({
      code: 2,
      err: expect.stringContaining("2 are given"),
    });
    expect(await refused(base, "--peft", at("x"))).toMatchObject({ code: 2, err: expect.stringContaining("has 0") });
    expect(await refused(prompt, "--adapters", at("x"))).toMatchObject({
      err: expect.stringContaining("has no form in the library adapters"),
    });
    expect(await refused(prompt, "--gguf-lora", at("x.gguf"))).toMatchObject({
      code: 2,
      err: expect.stringContaining("llama.cpp loads LoRA only"),
    });
    const dora = { peft_type: "LORA", task_type: "CAUSAL_LM", r: 2, lora_alpha: 2, use_dora: true } as const;
    const tensors = {
      ...Object.fromEntries(Object.entries(factors).filter(([name]) => name.startsWith(q))),
      [`${q}.lora_magnitude_vector`]: f32(rng.normalArray(32), [32]),
    };
    await writePeftAdapter(at("dora"), { config: dora, tensors });
    expect(await refused(`${base}+${at("dora")}`, "--gguf-lora", at("x.gguf"))).toMatchObject({
      code: 2,
      err: expect.stringContaining("DoRA"),
    });
    expect(existsSync(at("x.gguf"))).toBe(false);
  });
});
