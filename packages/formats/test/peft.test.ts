import { cpSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type HostTensor, isLfmError, type LfmErrorCode, loadWeight } from "@lfm/core";
import { afterAll, describe, expect, it } from "vitest";
import { type PeftAdapter, readPeftAdapter, writePeftAdapter } from "../src/peft/adapter.js";
import { type LoraLayer, loraParts } from "../src/peft/lora-layers.js";
import { readSafetensors } from "../src/safetensors/read.js";

const golden = join(import.meta.dirname, "golden/peft");
const scratch = mkdtempSync(join(tmpdir(), "lfm-peft-"));
afterAll(() => rmSync(scratch, { recursive: true }));
const { scalings } = JSON.parse(readFileSync(join(golden, "golden.json"), "utf8")) as { scalings: Record<string, Record<string, number>> };
const changes = readSafetensors(join(golden, "changes.safetensors")).tensors;
const adapters = readdirSync(golden, { withFileTypes: true }).flatMap((e) => (e.isDirectory() ? [e.name] : []));
const json = (path: string): Record<string, unknown> => JSON.parse(readFileSync(path, "utf8")) as Record<string, unknown>;
const failure = (code: LfmErrorCode, run: () => unknown): string => {
  try {
    run();
  } catch (error) {
    expect(isLfmError(error, code), String(error)).toBe(true);
    return `${(error as Error).message} ${(error as { hint?: string }).hint ?? ""}`;
  }
  throw new Error("nothing was thrown");
};

/** scale · B·A, out × in. */
function product({ a, b, r, scale }: LoraLayer): Float32Array {
  const [out, width] = [b.shape[0]!, a.shape[1]!];
  const sum = new Float32Array(out * width);
  for (let o = 0; o < out; o++)
    for (let i = 0; i < width; i++)
      for (let k = 0; k < r; k++) sum[o * width + i]! += scale * Number(b.data[o * r + k]) * Number(a.data[k * width + i]);
  return sum;
}

/** A copy of a fixture with a changed config. */
function changed(name: string, config: Readonly<Record<string, unknown>>): string {
  const folder = mkdtempSync(join(scratch, "changed-"));
  cpSync(join(golden, name), folder, { recursive: true });
  const path = join(folder, "adapter_config.json");
  writeFileSync(path, JSON.stringify({ ...json(path), ...config }));
  return folder;
}

describe("adapters of PEFT", () => {
  it("has fixtures of every kind", () => {
    expect(adapters.map((name) => readPeftAdapter(join(golden, name)).config.peft_type).sort()).toEqual([
      "IA3",
      "LORA",
      "LORA",
      "LORA",
      "LORA",
      "LORA",
      "PREFIX_TUNING",
      "PROMPT_TUNING",
      "PROMPT_TUNING",
      "VERA",
    ]);
  });

  it.each(adapters)("%s: written again, both files say the same, byte for byte in the tensors", async (name) => {
    const adapter = readPeftAdapter(join(golden, name), { keepDtype: true });
    const out = join(scratch, name);
    await writePeftAdapter(out, adapter);
    expect(json(join(out, "adapter_config.json"))).toEqual(json(join(golden, name, "adapter_config.json")));
    const [theirs, ours] = [golden, scratch].map((root) => readSafetensors(join(root, name, "adapter_model.safetensors")));
    expect(Object.keys(ours!.tensors).sort()).toEqual(Object.keys(theirs!.tensors).sort());
    for (const [key, t] of Object.entries(theirs!.tensors)) expect(ours!.tensors[key]!.read(), key).toEqual(t.read());
    expect(ours!.metadata).toEqual(theirs!.metadata);
  });

  it("names tensors by the path of their module", () => {
    const tensors = (name: string): string[] => Object.keys(readPeftAdapter(join(golden, name)).tensors);
    expect(tensors("lora-llama")).toContain("model.layers.0.self_attn.q_proj.lora_A.weight");
    expect(tensors("lora-gpt2")).toContain("transformer.wte.lora_embedding_A");
    expect(tensors("prompt-llama")).toEqual(["prompt_embeddings"]);
    expect(tensors("prompt-classifier").sort()).toEqual(["classifier.bias", "classifier.weight", "prompt_embeddings"]);
    expect(tensors("vera-llama")).toContain("base_model.vera_A");
  });

  it.each(Object.keys(scalings))("%s: scales and weight changes are those of PEFT", (name) => {
    const { layers } = loraParts(readPeftAdapter(join(golden, name)));
    expect(Object.keys(layers).sort()).toEqual(Object.keys(scalings[name]!).sort());
    for (const [path, layer] of Object.entries(layers)) {
      expect(layer.scale).toBeCloseTo(scalings[name]![path]!, 12);
      const theirs = loadWeight(changes[`${name}/${path}`]!);
      const ours = product(layer);
      const [out, width] = [layer.b.shape[0]!, layer.a.shape[1]!];
      // GPT-2's Conv1D and embedding tables lie input first.
      const inputFirst = theirs.shape[0] === width && (layer.embedding || name === "lora-gpt2");
      expect([...theirs.shape]).toEqual(inputFirst ? [width, out] : [out, width]);
      for (let o = 0; o < out; o++)
        for (let i = 0; i < width; i++)
          expect(Math.abs(ours[o * width + i]! - Number(theirs.data[inputFirst ? i * out + o : o * width + i]))).toBeLessThan(1e-5);
    }
  });

  it("reads patterns of rank and alpha, DoRA's magnitudes and parameters trained in full", () => {
    const patterns = loraParts(readPeftAdapter(join(golden, "lora-patterns"))).layers;
    const of = (path: string): readonly number[] => [patterns[path]!.r, patterns[path]!.alpha];
    expect(of("model.layers.0.self_attn.q_proj")).toEqual([2, 8]);
    expect(of("model.layers.1.self_attn.q_proj")).toEqual([4, 8]);
    expect(of("model.layers.1.self_attn.o_proj")).toEqual([4, 3]);
    expect(of("model.layers.0.mlp.down_proj")).toEqual([6, 8]);
    const dora = loraParts(readPeftAdapter(join(golden, "dora-llama"))).layers;
    expect(dora["model.layers.0.mlp.up_proj"]!.magnitude!.shape).toEqual([48]);
    const { parameters } = loraParts(readPeftAdapter(join(golden, "lora-classifier")));
    expect(Object.keys(parameters).sort()).toEqual(
      [
        ...[0, 1].flatMap((l) => ["query", "value"].map((m) => `bert.encoder.layer.${l}.attention.self.${m}.bias`)),
        "classifier.bias",
        "classifier.weight",
      ].sort(),
    );
  });

  it("fills in PEFT's keys, names the targets by full path, keeps unknown options", async () => {
    const t = (shape: number[]): HostTensor => ({ dtype: "f32", shape, data: new Float32Array(shape[0]! * shape[1]!) });
    const tensors = {
      "model.layers.0.self_attn.q_proj.lora_A.weight": t([2, 8]),
      "model.layers.0.self_attn.q_proj.lora_B.weight": t([8, 2]),
    };
    const out = join(scratch, "fresh");
    await writePeftAdapter(out, { config: { peft_type: "LORA", r: 2, lora_alpha: 4, a_newer_option: [1] }, tensors });
    const config = json(join(out, "adapter_config.json"));
    expect(Object.keys(config).filter((k) => k !== "a_newer_option")).toEqual(
      Object.keys(json(join(golden, "lora-llama/adapter_config.json"))),
    );
    expect(config).toMatchObject({
      target_modules: ["model.layers.0.self_attn.q_proj"],
      inference_mode: true,
      a_newer_option: [1],
      bias: "none",
    });
    expect(readdirSync(out).sort()).toEqual(["adapter_config.json", "adapter_model.safetensors"]);
  });

  it("refuses what it does not understand, by name", () => {
    const lora = (config: Record<string, unknown>): PeftAdapter => readPeftAdapter(changed("lora-llama", config));
    expect(failure("OP_UNSUPPORTED", () => lora({ peft_type: "NEXT_YEARS_METHOD" }))).toContain("NEXT_YEARS_METHOD");
    expect(failure("FILE_FORMAT", () => lora({ peft_type: undefined, architecture: "lora" }))).toContain("library `adapters`");
    expect(failure("FILE_FORMAT", () => lora({ r: -1 }))).toContain("r");
    expect(failure("FILE_FORMAT", () => lora({ bias: "some" }))).toContain("bias");
    expect(failure("FILE_FORMAT", () => loraParts(lora({ r: 5 })))).toContain("rank 5");
    expect(failure("FILE_FORMAT", () => loraParts(lora({ alpha_pattern: { "(": 1 } })))).toContain('"("');
    expect(failure("FILE_FORMAT", () => loraParts(lora({ use_dora: true })))).toContain("lora_magnitude_vector");
    expect(failure("OP_UNSUPPORTED", () => loraParts(lora({ use_qalora: true, target_parameters: ["x"] })))).toContain(
      "target_parameters, use_qalora",
    );
    expect(failure("OP_UNSUPPORTED", () => loraParts(lora({ init_lora_weights: "pissa_niter_4" })))).toContain("path_initial_model");
    expect(failure("OP_UNSUPPORTED", () => loraParts(readPeftAdapter(join(golden, "ia3-llama"))))).toContain("IA3");
  });

  it("takes null for every default, and options that ask for nothing", () => {
    const plain = loraParts(readPeftAdapter(changed("lora-llama", {}))).layers;
    const nulls = [
      "lora_dropout",
      "fan_in_fan_out",
      "use_rslora",
      "use_dora",
      "lora_bias",
      "init_lora_weights",
      "inference_mode",
      "bias",
    ].map((key) => [key, null]);
    const neutral = {
      layer_replication: [],
      target_parameters: [],
      alora_invocation_tokens: null,
      use_qalora: false,
      megatron_config: null,
      peft_version: null,
      modules_to_save: [],
      enable_lora: null,
      merge_weights: false,
      eva_config: { rho: 2 },
      velora_config: { num_groups: 4 },
      runtime_config: { ephemeral_gpu_offload: false },
      exclude_modules: "visual.*",
      layers_to_transform: [0, 1],
      layers_pattern: "layers",
      init_lora_weights: "eva",
      written_by: "another program",
    };
    for (const config of [...nulls.map((one) => Object.fromEntries([one])), Object.fromEntries(nulls), neutral])
      expect(loraParts(readPeftAdapter(changed("lora-llama", config))).layers, JSON.stringify(config)).toEqual(plain);
    const others = {
      "ia3-llama": ["fan_in_fan_out", "init_ia3_weights", "feedforward_modules"],
      "prompt-llama": ["prompt_tuning_init", "token_dim"],
    };
    for (const [name, keys] of Object.entries(others))
      expect(readPeftAdapter(changed(name, Object.fromEntries(keys.map((key) => [key, null])))).tensors).toEqual(
        readPeftAdapter(join(golden, name)).tensors,
      );
  });

  it("refuses each option that changes what A and B do, by name", () => {
    const changing = {
      alora_invocation_tokens: [1],
      arrow_config: { top_k: 3 },
      kasa_config: { beta: 1 },
      layer_replication: [[0, 2]],
      megatron_config: { tensor_model_parallel_size: 2 },
      monteclora_config: { num_samples: 8 },
      target_parameters: ["experts.gate_up_proj"],
      use_bdlora: { nblocks: 2 },
      use_qalora: true,
    };
    for (const [key, value] of Object.entries(changing))
      expect(
        failure("OP_UNSUPPORTED", () => loraParts(readPeftAdapter(changed("lora-llama", { [key]: value })))),
        key,
      ).toContain(key);
    for (const kind of ["pissa", "olora", "corda", "lora_ga", "loftq"])
      expect(failure("OP_UNSUPPORTED", () => loraParts(readPeftAdapter(changed("lora-llama", { init_lora_weights: kind }))))).toContain(
        kind,
      );
  });

  it("accounts for every tensor: what no option asks for is refused", async () => {
    const { config, tensors } = readPeftAdapter(join(golden, "lora-llama"));
    const path = "model.layers.0.self_attn.q_proj";
    const vector: HostTensor = { dtype: "f32", shape: [3], data: new Float32Array(3) };
    const parts = (more: Record<string, HostTensor>, options: object = {}): unknown =>
      loraParts({ config: { ...config, ...options } as PeftAdapter["config"], tensors: { ...tensors, ...more } });
    expect(failure("FILE_FORMAT", () => parts({ [`${path}.lora_magnitude_vector`]: vector }))).toContain("use_dora is off");
    expect(failure("FILE_FORMAT", () => parts({ [`${path}.lora_magnitude_vector`]: vector }, { use_dora: true }))).toContain("[3]");
    expect(failure("FILE_FORMAT", () => parts({ [`${path}.lora_B.bias`]: vector }))).toContain("lora_bias is off");
    expect(failure("OP_UNSUPPORTED", () => parts({ [`${path}.lora_diag`]: vector }))).toContain("lora_diag");
    expect(failure("FILE_FORMAT", () => parts({ "model.embed_tokens.token_adapter.trainable_tokens_delta": vector }))).toContain(
      "which rows",
    );
    const rows = { trainable_token_indices: [1, 2] };
    expect(failure("FILE_FORMAT", () => parts({ "model.embed_tokens.trainable_tokens_delta": vector }, rows))).toContain("2 rows");
    expect(failure("FILE_FORMAT", () => parts({}, { r: 1_000_000 }))).toContain("rank 1000000");
  });

  it("keeps tensors whatever their modules are called", async () => {
    const t = (shape: number[]): HostTensor => ({ dtype: "f32", shape, data: new Float32Array(shape.reduce((a, b) => a * b, 1)) });
    const tensors = Object.fromEntries(
      ["__proto__", "constructor", "toString"].flatMap((path) => [
        [`${path}.lora_A.weight`, t([2, 4])],
        [`${path}.lora_B.weight`, t([4, 2])],
        [`${path}.bias`, t([4])],
      ]),
    );
    const out = join(scratch, "names");
    await writePeftAdapter(out, { config: { peft_type: "LORA", r: 2 }, tensors });
    const { layers, parameters } = loraParts(readPeftAdapter(out));
    expect(Object.keys(layers).sort()).toEqual(["__proto__", "constructor", "toString"]);
    expect(Object.keys(parameters).sort()).toEqual(["__proto__.bias", "constructor.bias", "toString.bias"]);
  });

  it("reads files that state_dict() wrote, and refuses one with two adapters in it", async () => {
    const { config, tensors } = readPeftAdapter(join(golden, "lora-llama"));
    const named = (name: string): Record<string, HostTensor> =>
      Object.fromEntries(Object.entries(tensors).map(([key, t]) => [key.replace(/(lora_[AB])/, `$1.${name}`), t]));
    await writePeftAdapter(join(scratch, "raw"), { config, tensors: named("default") });
    expect(readPeftAdapter(join(scratch, "raw")).tensors).toEqual(tensors);
    await writePeftAdapter(join(scratch, "two"), { config, tensors: { ...named("first"), ...named("second") } });
    expect(failure("OP_UNSUPPORTED", () => readPeftAdapter(join(scratch, "two")))).toContain("first, second");
  });

  it("says which file is missing or broken", () => {
    const folder = changed("lora-llama", {});
    rmSync(join(folder, "adapter_model.safetensors"));
    writeFileSync(join(folder, "adapter_model.bin"), "pickle");
    expect(failure("FILE_IO", () => readPeftAdapter(folder))).toContain("pickled");
    writeFileSync(join(folder, "adapter_config.json"), "{");
    expect(failure("FILE_FORMAT", () => readPeftAdapter(folder))).toContain("not JSON");
    expect(failure("FILE_IO", () => readPeftAdapter(scratch))).toContain("adapter_config.json");
    const lonely = readPeftAdapter(join(golden, "lora-llama"));
    const { "model.layers.0.self_attn.q_proj.lora_B.weight": _, ...rest } = lonely.tensors;
    expect(failure("FILE_FORMAT", () => loraParts({ ...lonely, tensors: rest }))).toContain("no lora_B");
  });
});
